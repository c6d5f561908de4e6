//! Softmax cross-entropy.

use wgpu_rnn::ops::{Region, SoftmaxCrossEntropy};

use super::support::*;

struct Shape {
    rows: usize,
    classes: usize,
    weighted: bool,
    class_weighted: bool,
    smoothing: f32,
}

struct Inputs {
    logits: Vec<f32>,
    /// What stands for the class, and the class if it is one.
    targets: Vec<(f32, Option<usize>)>,
    weights: Option<Vec<f32>>,
    class_weights: Option<Vec<f32>>,
    smoothing: f32,
}

impl Inputs {
    /// Random ones; with weights every third row has weight 0 and NaN logits, and every fifth class is none.
    fn new(shape: &Shape) -> Self {
        let &Shape { rows, classes, .. } = shape;
        let mut values = Values((rows * classes) as u64);
        let mut logits = values.vec(rows * classes, 5.0);
        let bad = [-1.0, 0.5, classes as f32, f32::NAN, f32::INFINITY];
        let mut target = |row: usize| {
            if shape.weighted && row % 5 == 4 {
                return (bad[row / 5 % bad.len()], None);
            }
            let class = values.below(classes);
            (class as f32, Some(class))
        };
        let targets = (0..rows).map(&mut target).collect();
        let weights = shape.weighted.then(|| {
            let weight = |row: usize| [0.5, 0.0, 2.0][row % 3];
            (0..rows).map(weight).collect::<Vec<f32>>()
        });
        for row in (1..rows).step_by(3).filter(|_| shape.weighted) {
            logits[row * classes..][..classes].fill(f32::NAN);
        }
        let class_weight = |class: usize| [1.0, 0.25, 3.0, 0.0][class % 4];
        Self {
            logits,
            targets,
            weights,
            class_weights: (shape.class_weighted).then(|| (0..classes).map(class_weight).collect()),
            smoothing: shape.smoothing,
        }
    }

    fn classes(&self) -> usize {
        self.logits.len() / self.targets.len()
    }

    fn class_weight(&self, class: usize) -> f64 {
        (self.class_weights.as_ref()).map_or(1.0, |weights| f64::from(weights[class]))
    }

    /// The weight of a row and its class, if it counts.
    fn row(&self, row: usize) -> Option<(f64, usize)> {
        let weight = (self.weights.as_ref()).map_or(1.0, |weights| f64::from(weights[row]));
        let class = self.targets[row].1.filter(|_| weight != 0.0)?;
        Some((weight, class))
    }

    fn total(&self) -> f64 {
        let rows = (0..self.targets.len()).filter_map(|row| self.row(row));
        rows.map(|(weight, class)| weight * self.class_weight(class))
            .sum()
    }

    /// The weight of each class in a row's target, PyTorch's definition.
    fn wanted(&self, class: usize) -> Vec<f64> {
        let (smoothing, classes) = (f64::from(self.smoothing), self.classes());
        let own = |k| if k == class { 1.0 - smoothing } else { 0.0 };
        let share = |k| self.class_weight(k) * (own(k) + smoothing / classes as f64);
        (0..classes).map(share).collect()
    }
}

/// The textbook's form of a row's loss.
fn naive(logits: &[f64], wanted: &[f64]) -> f64 {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    let terms = logits.iter().zip(wanted);
    terms.map(|(x, q)| -q * (x.exp() / sum).ln()).sum()
}

fn check(shape: &Shape) {
    let &Shape { rows, classes, .. } = shape;
    let inputs = Inputs::new(shape);
    let total = inputs.total();
    let (mut loss, mut loss_tolerance) = (0.0, 0.0);
    let mut gradient = vec![0.0; rows * classes];
    let mut tolerance = vec![0.0; rows * classes];
    // The exponentials: `3 + 2 |x|` ulp each, of logits within 10 of the largest; their sum; a division.
    let relative = (classes as f64 + 48.0) * EPSILON;
    for row in 0..rows {
        let Some((weight, class)) = inputs.row(row).filter(|_| total > 0.0) else {
            continue;
        };
        let share = weight / total;
        let wanted = inputs.wanted(class);
        let x: Vec<f64> = inputs.logits[row * classes..][..classes]
            .iter()
            .map(|&x| x.into())
            .collect();
        let all: f64 = wanted.iter().sum();
        let own = naive(&x, &wanted);
        loss += share * own;
        // The logarithm: 2^-20, or 3 ulp of a larger one.
        loss_tolerance += share * all * (1.0 / f64::from(1 << 20) + relative + 40.0 * EPSILON);
        for k in 0..classes {
            let by = |changed: f64| {
                let mut x = x.clone();
                x[k] = changed;
                naive(&x, &wanted)
            };
            gradient[row * classes + k] = share * derivative(x[k], by);
            let size = all * relative + 8.0 * EPSILON * wanted[k];
            tolerance[row * classes + k] = share * (size + 4.0 * DERIVATIVE_ERROR)
                + 8.0 * EPSILON * gradient[row * classes + k].abs();
        }
    }
    loss_tolerance += (rows + classes + 8) as f64 * EPSILON * loss;
    let what = format!("{rows} x {classes}, smoothing {}", shape.smoothing);
    run(&inputs, |device, d_x, got| {
        let what = format!("{what} on {device}");
        assert_close(&what, d_x, &gradient, |i| tolerance[i]);
        assert_close(&what, &[got], &[loss], |_| loss_tolerance);
    });
}

fn run(inputs: &Inputs, check: impl Fn(&str, &[f32], f32)) {
    let mut case = Case::new();
    let targets: Vec<f32> = inputs.targets.iter().map(|(target, _)| *target).collect();
    let [logits, target] = [&inputs.logits, &targets].map(|content| case.buffer(content));
    let mut optional = |weights: &Option<Vec<f32>>| {
        let weights = weights.as_ref();
        weights.map(|weights| Region::from(case.buffer(weights)))
    };
    let weights = optional(&inputs.weights);
    let class_weights = optional(&inputs.class_weights);
    let (d_x, loss) = (case.result(inputs.logits.len()), case.result(1));
    case.push(SoftmaxCrossEntropy {
        logits: logits.into(),
        target: target.into(),
        weights,
        class_weights,
        smoothing: inputs.smoothing,
        gradient: d_x.into(),
        loss: loss.into(),
        rows: targets.len(),
        classes: inputs.classes(),
    });
    case.each([d_x, loss], |device, [d_x, loss]| {
        check(device, &d_x, loss[0])
    });
}

#[test]
fn softmax_cross_entropy() {
    for (rows, classes) in [(1, 1), (1, 2), (9, 3), (70, 10), (6, 700), (1_500, 5)] {
        for flags in 0..8 {
            check(&Shape {
                rows,
                classes,
                weighted: flags & 1 > 0,
                class_weighted: flags & 2 > 0,
                smoothing: if flags & 4 > 0 { 0.125 } else { 0.0 },
            });
        }
    }
}

/// Logits from the smallest to the largest of `f32`: a row whose class is far ahead has neither loss nor gradient, one whose class
/// is far behind has the distance as its loss.
#[test]
fn large_logits() {
    for size in [100.0, 1e4, 1e30, f32::MAX / 2.0] {
        for (class, behind) in [(0, 0.0), (1, 2.0 * f64::from(size))] {
            let inputs = Inputs {
                logits: vec![size, -size, -size],
                targets: vec![(class as f32, Some(class))],
                weights: None,
                class_weights: None,
                smoothing: 0.0,
            };
            let mut expected = [1.0, 0.0, 0.0];
            expected[class] -= 1.0;
            run(&inputs, |device, d_x, loss| {
                let what = format!("{size} on {device}");
                assert_close(&what, d_x, &expected, |_| 4.0 * EPSILON);
                assert_close(&what, &[loss], &[behind], |_| 4.0 * EPSILON * behind);
            });
        }
    }
    // The largest distance there is overflows, but only where it is wanted; equal logits share, however large.
    let largest = |logits: [f32; 2], check: &dyn Fn(&str, &[f32], f32)| {
        let inputs = Inputs {
            logits: logits.to_vec(),
            targets: vec![(0.0, Some(0))],
            weights: None,
            class_weights: None,
            smoothing: 0.0,
        };
        run(&inputs, check);
    };
    largest([f32::MAX, f32::MIN], &|device, d_x, loss| {
        assert!(d_x == [0.0; 2] && loss == 0.0, "{device}: {d_x:?}, {loss}");
    });
    largest([f32::MIN; 2], &|device, d_x, loss| {
        assert_close(device, d_x, &[-0.5, 0.5], |_| 4.0 * EPSILON);
        let tolerance = 1.0 / f64::from(1 << 20);
        assert_close(device, &[loss], &[2f64.ln()], |_| tolerance);
    });
}

#[test]
fn nothing_is_left_where_no_class_is_one() {
    let inputs = Inputs {
        logits: vec![f32::NAN; 6],
        targets: vec![(3.0, None), (-1.0, None)],
        weights: None,
        class_weights: None,
        smoothing: 0.5,
    };
    run(&inputs, |device, d_x, loss| {
        assert!(d_x == [0.0; 6] && loss == 0.0, "{device}");
    });
}
