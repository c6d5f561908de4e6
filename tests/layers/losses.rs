//! Losses that each element has by itself.

use wgpu_rnn::ops::{PointwiseLoss, PointwiseLossKind, Region};

use super::support::*;

pub(crate) const KINDS: [PointwiseLossKind; 6] = [
    PointwiseLossKind::Squared,
    PointwiseLossKind::Absolute,
    PointwiseLossKind::Huber { delta: 0.7 },
    PointwiseLossKind::Huber { delta: 1.0 },
    PointwiseLossKind::BinaryCrossEntropy {
        positive_weight: 1.0,
    },
    PointwiseLossKind::BinaryCrossEntropy {
        positive_weight: 31.25,
    },
];

/// The textbook's form.
fn naive(kind: PointwiseLossKind, x: f64, y: f64) -> f64 {
    let distance = (x - y).abs();
    match kind {
        PointwiseLossKind::Squared => distance.powi(2),
        PointwiseLossKind::Absolute => distance,
        PointwiseLossKind::Huber { delta } if distance <= delta.into() => distance.powi(2) / 2.0,
        PointwiseLossKind::Huber { delta } => {
            f64::from(delta) * (distance - f64::from(delta) / 2.0)
        }
        PointwiseLossKind::BinaryCrossEntropy { positive_weight } => {
            let probability = 1.0 / (1.0 + (-x).exp());
            -f64::from(positive_weight) * y * probability.ln()
                - (1.0 - y) * (1.0 - probability).ln()
        }
    }
}

/// How far an element's loss and gradient may be off: WGSL grants the logarithm an absolute error of 2^-21 near 1 (more in
/// GLSL by half), the exponential `3 + 2 |x|` ulp, a division 2.5.
fn tolerances(kind: PointwiseLossKind, x: f64, y: f64) -> (f64, f64) {
    match kind {
        PointwiseLossKind::BinaryCrossEntropy { positive_weight } => {
            let size = (1.0 - y).abs() + f64::from(positive_weight) * y.abs();
            let relative = (16.0 + 4.0 * x.abs().min(20.0)) * EPSILON;
            let logarithm = 1.0 / f64::from(1 << 20);
            let loss = size * (logarithm + relative) + 4.0 * EPSILON * size * x.abs();
            (loss, size * relative)
        }
        // The difference of the arguments rounds once.
        _ => {
            let difference = (x.abs() + y.abs()) * EPSILON;
            let slope = 2.0 * (x - y).abs() + 1.0;
            (
                slope * (difference + 4.0 * EPSILON),
                4.0 * difference + 4.0 * EPSILON * slope,
            )
        }
    }
}

struct Inputs {
    x: Vec<f32>,
    y: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl Inputs {
    /// Random ones; of every third row of those with weights the weight is 0 and the content NaN.
    fn new(kind: PointwiseLossKind, [rows, width]: [usize; 2], weighted: bool) -> Self {
        let mut values = Values(rows as u64);
        let is_binary = matches!(kind, PointwiseLossKind::BinaryCrossEntropy { .. });
        let (mut x, mut y) = (values.vec(rows * width, 6.0), values.vec(rows * width, 6.0));
        if is_binary {
            // Mostly classes, some probabilities.
            y = (0..rows * width)
                .map(|i| [0.0, 1.0, 0.0, 0.25][i % 4])
                .collect();
        }
        let weights = weighted.then(|| {
            let weight = |row: usize| [0.5, 0.0, 2.0][row % 3];
            (0..rows).map(weight).collect::<Vec<f32>>()
        });
        for row in (1..rows).step_by(3).filter(|_| weighted) {
            x[row * width..][..width].fill(f32::NAN);
            y[row * width..][..width].fill(f32::NAN);
        }
        Self { x, y, weights }
    }
}

fn check(kind: PointwiseLossKind, [rows, width]: [usize; 2], weighted: bool) {
    let inputs = Inputs::new(kind, [rows, width], weighted);
    let weight = |row: usize| {
        inputs
            .weights
            .as_ref()
            .map_or(1.0, |weights| f64::from(weights[row]))
    };
    let total = width as f64 * (0..rows).map(weight).sum::<f64>();
    let len = rows * width;
    let (mut loss, mut loss_tolerance) = (0.0, 0.0);
    let (mut gradient, mut tolerance) = (vec![0.0; len], vec![0.0; len]);
    for i in 0..len {
        let share = weight(i / width) / total;
        if share > 0.0 {
            let (x, y) = (f64::from(inputs.x[i]), f64::from(inputs.y[i]));
            let own = naive(kind, x, y);
            let (of_loss, of_gradient) = tolerances(kind, x, y);
            loss += share * own;
            loss_tolerance += share * of_loss;
            gradient[i] = share * derivative(x, |x| naive(kind, x, y));
            let shares = 8.0 * EPSILON * gradient[i].abs();
            tolerance[i] = share * (of_gradient + 32.0 * DERIVATIVE_ERROR) + shares;
        }
    }
    // Any order of the sum, and the share of each term.
    loss_tolerance += (len + rows + 8) as f64 * EPSILON * loss;
    let mut case = Case::new();
    let [x, y] = [&inputs.x, &inputs.y].map(|content| case.buffer(content));
    let weights = inputs.weights.as_ref().map(|weights| case.buffer(weights));
    let (d_x, out) = (case.result(len), case.result(2));
    case.push(PointwiseLoss {
        kind,
        prediction: x.into(),
        target: y.into(),
        weights: weights.map(Region::from),
        gradient: d_x.into(),
        loss: Region::from(out).at(1),
        rows,
        width,
    });
    case.each([d_x, out], |device, [d_x, out]| {
        let what = format!("{kind:?} of {rows} x {width} on {device}");
        assert_close(&what, &d_x, &gradient, |i| tolerance[i]);
        assert_close(&what, &out[1..], &[loss], |_| loss_tolerance);
    });
}

#[test]
fn pointwise_losses() {
    for kind in KINDS {
        for weighted in [false, true] {
            for shape in [[1, 1], [7, 1], [40, 3], [300, 17]] {
                check(kind, shape, weighted);
            }
        }
        check(kind, [100_001, 1], true);
    }
}

/// Runs a loss of single elements on each device.
fn run(
    kind: PointwiseLossKind,
    (x, y): (&[f32], &[f32]),
    weights: Option<&[f32]>,
    check: impl Fn(&str, &[f32], f32),
) {
    let mut case = Case::new();
    let [prediction, target] = [x, y].map(|content| case.buffer(content));
    let weights = weights.map(|weights| case.buffer(weights).into());
    let (d_x, loss) = (case.result(x.len()), case.result(1));
    case.push(PointwiseLoss {
        kind,
        prediction: prediction.into(),
        target: target.into(),
        weights,
        gradient: d_x.into(),
        loss: loss.into(),
        rows: x.len(),
        width: 1,
    });
    case.each([d_x, loss], |device, [d_x, loss]| {
        check(device, &d_x, loss[0])
    });
}

/// One logit at a time, from the smallest to the largest of `f32`: the loss is `max(x, 0) - x y` and the gradient `[x > 0] - y`
/// to rounding.
#[test]
fn large_logits() {
    let kind = PointwiseLossKind::BinaryCrossEntropy {
        positive_weight: 1.0,
    };
    for size in [88.5, 104.0, 1e4, 1e30, f32::MAX] {
        for x in [size, -size] {
            for y in [0.0, 1.0] {
                let expected = if (x > 0.0) == (y > 0.0) { 0.0 } else { size };
                run(kind, (&[x], &[y]), None, |device, d_x, loss| {
                    let what = format!("{x} for {y} on {device}");
                    let d = f64::from(u8::from(x > 0.0)) - f64::from(y);
                    assert_close(&what, d_x, &[d], |_| 2.0 * EPSILON);
                    assert_close(&what, &[loss], &[expected.into()], |_| {
                        // e^-88.5 is below the smallest normal number, so that it may be flushed to 0.
                        f64::from(f32::MIN_POSITIVE) + 4.0 * EPSILON * f64::from(expected)
                    });
                });
            }
        }
    }
    // Small losses keep their digits: ln(1 + e^-20) is 2e-9.
    run(kind, (&[20.0], &[1.0]), None, |device, d_x, loss| {
        let e = (-20f64).exp();
        assert_close(device, d_x, &[-e / (1.0 + e)], |_| 64.0 * EPSILON * e);
        assert_close(device, &[loss], &[e.ln_1p()], |_| 64.0 * EPSILON * e);
    });
}

#[test]
fn equal_values_have_no_slope() {
    for kind in KINDS.into_iter().take(4) {
        run(
            kind,
            (&[2.0, -3.5], &[2.0, -3.5]),
            None,
            |device, d_x, loss| {
                assert!(d_x == [0.0; 2] && loss == 0.0, "{kind:?} on {device}");
            },
        );
    }
}

#[test]
fn nothing_is_left_where_all_is_masked() {
    for kind in KINDS {
        let nan = [f32::NAN; 3];
        run(kind, (&nan, &nan), Some(&[0.0; 3]), |device, d_x, loss| {
            assert!(d_x == [0.0; 3] && loss == 0.0, "{kind:?} on {device}");
        });
    }
}

/// A diverged prediction must show, not vanish.
#[test]
fn a_nan_is_seen() {
    for kind in KINDS {
        run(
            kind,
            (&[f32::NAN, 0.5], &[1.0, 0.0]),
            None,
            |device, d_x, loss| {
                assert!(d_x[0].is_nan() || loss.is_nan(), "{kind:?} on {device}");
            },
        );
    }
}
