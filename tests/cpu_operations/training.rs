//! Losses and the optimizers' operations.

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::*;

use super::optimizers::{self, OptimizerCase};
use super::support::*;

#[test]
fn losses() {
    let mut values = Values(8);
    for len in [1, 5, 50_000] {
        let (p, t) = (values.vec(len), values.vec(len));
        let mut harness = Harness::new();
        let (ip, it) = (harness.buffer(&p), harness.buffer(&t));
        let iout = harness.buffer(&vec![0.0; len + 1]);
        let error = |i: usize| f64::from(p[i]) - f64::from(t[i]);
        // Gradient and loss in one buffer, as a program may have them.
        let operation = MeanSquaredError {
            prediction: ip.into(),
            target: it.into(),
            gradient: Region::from(iout).at(1),
            loss: iout.into(),
            len,
        };
        let loss = (0..len).map(|i| error(i).powi(2)).sum::<f64>() / len as f64;
        let mut expected = vec![loss];
        expected.extend((0..len).map(|i| 2.0 * error(i) / len as f64));
        assert_close(&harness.run(operation, iout), &expected, |i| {
            2.0 * expected[i].abs() * EPSILON
        });
    }
}

fn check(cases: &[OptimizerCase]) {
    assert!(!cases.is_empty());
    for device in [1, 3].map(|threads| CpuDevice::with_threads(threads).unwrap()) {
        for case in cases {
            case.check(&device);
        }
    }
}

#[test]
fn gradient_norm() {
    check(&optimizers::norms());
}

#[test]
fn optimizer_control() {
    check(&optimizers::controls());
}

#[test]
fn optimizer_step() {
    check(&optimizers::steps());
}
