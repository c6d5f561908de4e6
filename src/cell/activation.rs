//! The activations, with ONNX's meaning of `alpha` and `beta`.
//!
//! Where a derivative does not exist, the branch decides, and it is PyTorch's: 0 for `relu` at 0, the upper branch for
//! the leaky ones at 0, and 1 for a clamp at its bounds. No branch swallows a NaN.

use super::real::Real;
use crate::config::Activation;

/// `activation(x)`
#[inline]
pub fn activate<T: Real>(activation: Activation, x: T) -> T {
    let number = |value: f32| T::from_f64(f64::from(value));
    match activation {
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => zero_if(x <= T::zero(), x),
        Activation::Linear => x,
        Activation::Affine { alpha, beta } => number(alpha) * x + number(beta),
        Activation::LeakyRelu { .. } if x >= T::zero() => x,
        Activation::LeakyRelu { alpha } => number(alpha) * x,
        Activation::ThresholdedRelu { alpha } => zero_if(x < number(alpha), x),
        Activation::ScaledTanh { alpha, beta } => number(alpha) * (number(beta) * x).tanh(),
        Activation::HardSigmoid { alpha, beta } => {
            (number(alpha) * x + number(beta)).clamp(0.0, 1.0)
        }
        Activation::Elu { .. } if x >= T::zero() => x,
        Activation::Elu { alpha } => number(alpha) * (x.exp() - T::one()),
        Activation::Softsign => x / (T::one() + absolute(x)),
        Activation::Softplus if x >= T::zero() => x + (-x).exp().ln_1p(),
        Activation::Softplus => x.exp().ln_1p(),
    }
}

/// `1 / (1 + exp(-x))`; the exponent is never positive, so that neither the value nor its derivative overflows.
#[inline]
fn sigmoid<T: Real>(x: T) -> T {
    if x >= T::zero() {
        T::one() / (T::one() + (-x).exp())
    } else {
        let e = x.exp();
        e / (T::one() + e)
    }
}

#[inline]
fn zero_if<T: Real>(condition: bool, x: T) -> T {
    if condition { T::zero() } else { x }
}

#[inline]
fn absolute<T: Real>(x: T) -> T {
    if x < T::zero() { -x } else { x }
}
