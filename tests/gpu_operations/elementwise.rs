//! Arithmetic and activations, element by element.

use crate::elementwise_cases::{self as cases, ElementwiseCase, Grants};
use crate::support::devices;

/// What WGSL grants a logarithm near 1, and the rounding of `1 + x` before it.
const LOGARITHM: f64 = 1.0 / (1 << 21) as f64 + f32::EPSILON as f64;

fn check(cases: &[ElementwiseCase]) {
    assert!(!cases.is_empty());
    for device in devices() {
        for case in cases {
            case.check(device);
        }
    }
}

#[test]
fn arithmetic() {
    check(&cases::arithmetic());
}

#[test]
fn activations() {
    let grants = Grants {
        logarithm: LOGARITHM,
    };
    check(&cases::activations(grants));
}

#[test]
fn refusals() {
    for device in devices() {
        cases::check_refused(device);
    }
}
