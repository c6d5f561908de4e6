//! The optimizers' operations.

use crate::optimizers::{self, OptimizerCase};
use crate::support::all_devices;

fn check(cases: &[OptimizerCase]) {
    assert!(!cases.is_empty());
    for device in all_devices() {
        for case in cases {
            case.check(device);
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
