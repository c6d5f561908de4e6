//! Arithmetic and activations, element by element, on every instruction set.

use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};

use super::elementwise_cases::{self as cases, ElementwiseCase, Grants};

fn check(cases: &[ElementwiseCase]) {
    assert!(!cases.is_empty());
    for set in Instructions::available() {
        for threads in [1, 3] {
            let options = CpuOptions::new().threads(threads).instructions(set);
            let device = CpuDevice::with_options(&options).unwrap();
            for case in cases {
                case.check(&device);
            }
        }
    }
}

#[test]
fn arithmetic() {
    check(&cases::arithmetic());
}

#[test]
fn activations() {
    check(&cases::activations(Grants { logarithm: 0.0 }));
}

#[test]
fn refusals() {
    cases::check_refused(&CpuDevice::with_threads(1).unwrap());
}
