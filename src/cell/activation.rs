//! The activations, with ONNX's meaning of `alpha` and `beta`.
//!
//! Where a derivative does not exist, the branch decides, and it is PyTorch's: 0 for `relu` at 0, the upper branch for
//! the leaky ones at 0, and 1 for a clamp at its bounds. No branch swallows a NaN.

use super::number::Number;
use crate::config::Activation;

/// What each activation is.
#[inline(always)]
pub(crate) fn formula<T: Number>(activation: Activation, x: T) -> T {
    let number = |value: f32| x.constant(f64::from(value));
    let (zero, one) = (number(0.0), number(1.0));
    match activation {
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => T::choose(x.is_at_most(zero), zero, x),
        Activation::Linear => x,
        Activation::Affine { alpha, beta } => number(alpha) * x + number(beta),
        Activation::LeakyRelu { alpha } => T::choose(zero.is_at_most(x), x, number(alpha) * x),
        Activation::ThresholdedRelu { alpha } => T::choose(x.is_below(number(alpha)), zero, x),
        Activation::ScaledTanh { alpha, beta } => number(alpha) * (number(beta) * x).tanh(),
        Activation::HardSigmoid { alpha, beta } => {
            (number(alpha) * x + number(beta)).clamp(0.0, 1.0)
        }
        Activation::Elu { alpha } => {
            let below = number(alpha) * (up_to_zero(x).exp() - one);
            T::choose(zero.is_at_most(x), x, below)
        }
        Activation::Softsign => x / (one + -minus_absolute(x)),
        Activation::Softplus => {
            let rest = minus_absolute(x).exp().ln_1p();
            T::choose(zero.is_at_most(x), x + rest, rest)
        }
    }
}

/// `1 / (1 + exp(-x))`; the exponent is never positive, so that neither the value nor its derivative overflows.
#[inline(always)]
fn sigmoid<T: Number>(x: T) -> T {
    let one = x.constant(1.0);
    let e = minus_absolute(x).exp();
    let above = x.constant(0.0).is_at_most(x);
    T::choose(above, one, e) / (one + e)
}

/// `-|x|`, of which every exponential can be had.
#[inline(always)]
fn minus_absolute<T: Number>(x: T) -> T {
    T::choose(x.is_below(x.constant(0.0)), x, -x)
}

/// `x`, or 0 above.
#[inline(always)]
fn up_to_zero<T: Number>(x: T) -> T {
    let zero = x.constant(0.0);
    T::choose(zero.is_at_most(x), zero, x)
}
