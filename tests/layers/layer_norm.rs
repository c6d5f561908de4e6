//! The layer norm's parameters' and input's gradients by finite differences.

use wgpu_rnn::nn::LayerNorm;

use super::support::*;

const NORM_EPSILON: f32 = 1e-3;

/// Rows normalised, then scaled and shifted.
fn naive(x: &[f64], parameters: &[f64]) -> Vec<f64> {
    let width = parameters.len() / 2;
    let row = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / width as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let deviation = (variance + f64::from(NORM_EPSILON)).sqrt();
        let scaled =
            |(i, x): (usize, &f64)| (x - mean) / deviation * parameters[i] + parameters[width + i];
        x.iter().enumerate().map(scaled).collect()
    };
    x.chunks(width).flat_map(row).collect()
}

/// The gradient of `sum(d_y * y)` by all elements of `values`.
fn differences(values: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let by = |i: usize| {
        derivative(values[i], |value| {
            let mut changed = values.to_vec();
            changed[i] = value;
            loss(&changed)
        })
    };
    (0..values.len()).map(by).collect()
}

fn check(rows: usize, width: usize) {
    let mut values = Values(width as u64);
    let (x, d_y) = (values.vec(rows * width, 2.0), values.vec(rows * width, 1.0));
    let parameters = values.vec(2 * width, 1.0);
    let doubles = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let (x64, p64) = (doubles(&x), doubles(&parameters));
    let y64 = naive(&x64, &p64);
    let loss = |y: Vec<f64>| {
        y.iter()
            .zip(&d_y)
            .map(|(y, d)| y * f64::from(*d))
            .sum::<f64>()
    };
    let of_x = differences(&x64, |x| loss(naive(x, &p64)));
    let of_parameters = differences(&p64, |p| loss(naive(&x64, p)));
    let mut case = Case::new();
    let norm = LayerNorm::new(&mut case.program, rows, width, NORM_EPSILON).unwrap();
    assert_eq!(norm.parameter_len(), parameters.len());
    let [ix, id_y, ip] = [&x, &d_y, &parameters].map(|content| case.buffer(content));
    let [y, d_x] = [(); 2].map(|()| case.result(rows * width));
    let gradients = case.result(2 * width);
    let program = &mut case.program;
    norm.forward(program, ip.into(), (ix.into(), y.into()));
    let places = (ix.into(), id_y.into(), d_x.into());
    norm.backward(program, (ip.into(), gradients.into()), places);
    // A row's sums over the width, its deviation (a few ulp of WGSL's square root and division), at most 1 / sqrt(epsilon) as
    // large as 32; a normalised value is at most sqrt(width).
    let relative = (width as f64 + 24.0) * EPSILON;
    let size = (width as f64).sqrt().min(32.0);
    case.each([y, d_x, gradients], |device, [y, d_x, gradients]| {
        let what = format!("{rows} x {width} on {device}");
        assert_close(&what, &y, &y64, |_| 4.0 * size * relative);
        let of_differences = DERIVATIVE_ERROR * 32f64.powi(3);
        assert_close(&what, &d_x, &of_x, |_| {
            32.0 * 4.0 * size * relative + of_differences
        });
        let of_sums = rows as f64 * size * (4.0 * relative + rows as f64 * EPSILON);
        assert_close(&what, &gradients, &of_parameters, |_| of_sums + 1e-9);
    });
}

#[test]
fn layer_norm() {
    for (rows, width) in [(1, 1), (3, 5), (17, 33), (40, 8)] {
        check(rows, width);
    }
}
