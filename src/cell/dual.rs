//! Forward-mode dual numbers: a value and its derivatives with respect to `N` inputs.

use std::array::from_fn;
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::real::Real;

/// A value with its `N` partial derivatives.
#[derive(Debug, Clone, Copy)]
pub struct Dual<T, const N: usize> {
    /// The value.
    pub value: T,
    /// Its derivative with respect to each input.
    pub partials: [T; N],
}

impl<T: Real, const N: usize> Dual<T, N> {
    /// Input number `index`: its derivative with respect to itself is 1.
    #[inline]
    pub fn input(value: T, index: usize) -> Self {
        Self {
            value,
            partials: from_fn(|at| if at == index { T::one() } else { T::zero() }),
        }
    }

    /// The chain rule: `value = f(self)`, `slope = f'(self)`.
    #[inline]
    fn chain(self, value: T, slope: T) -> Self {
        Self {
            value,
            partials: from_fn(|at| slope * self.partials[at]),
        }
    }
}

impl<T: Real, const N: usize> Add for Dual<T, N> {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            partials: from_fn(|at| self.partials[at] + other.partials[at]),
        }
    }
}

impl<T: Real, const N: usize> Sub for Dual<T, N> {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self {
            value: self.value - other.value,
            partials: from_fn(|at| self.partials[at] - other.partials[at]),
        }
    }
}

#[expect(
    clippy::suspicious_arithmetic_impl,
    reason = "the rule has other operators in it"
)]
impl<T: Real, const N: usize> Mul for Dual<T, N> {
    type Output = Self;

    #[inline]
    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            partials: from_fn(|at| {
                self.partials[at] * other.value + self.value * other.partials[at]
            }),
        }
    }
}

#[expect(
    clippy::suspicious_arithmetic_impl,
    reason = "the rule has other operators in it"
)]
impl<T: Real, const N: usize> Div for Dual<T, N> {
    type Output = Self;

    /// `(a' - (a / b) b') / b` rather than `(a' b - a b') / b^2`: the square of a large `b` would overflow.
    #[inline]
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self {
            value,
            partials: from_fn(|at| (self.partials[at] - value * other.partials[at]) / other.value),
        }
    }
}

impl<T: Real, const N: usize> Neg for Dual<T, N> {
    type Output = Self;

    #[inline]
    fn neg(self) -> Self {
        Self {
            value: -self.value,
            partials: from_fn(|at| -self.partials[at]),
        }
    }
}

impl<T: Real, const N: usize> PartialEq for Dual<T, N> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Real, const N: usize> PartialOrd for Dual<T, N> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Real, const N: usize> Real for Dual<T, N> {
    #[inline]
    fn from_f64(value: f64) -> Self {
        Self {
            value: T::from_f64(value),
            partials: [T::zero(); N],
        }
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self.value.to_f64()
    }

    #[inline]
    fn exp(self) -> Self {
        let value = self.value.exp();
        self.chain(value, value)
    }

    #[inline]
    fn ln_1p(self) -> Self {
        self.chain(self.value.ln_1p(), T::one() / (T::one() + self.value))
    }

    #[inline]
    fn tanh(self) -> Self {
        let value = self.value.tanh();
        self.chain(value, T::one() - value * value)
    }

    #[inline]
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        self.chain(value, T::one() / (value + value))
    }
}

/// The values of `function` at `inputs` and the derivative of output `m` with respect to input `n`, at `[m][n]`.
///
/// ```
/// use wgpu_rnn::cell::jacobian;
/// let ([product], [[da, db]]) = jacobian(|[a, b]| [a * b], [3.0, 5.0]);
/// assert_eq!((product, da, db), (15.0, 5.0, 3.0));
/// ```
#[inline]
pub fn jacobian<T: Real, const N: usize, const M: usize>(
    function: impl FnOnce([Dual<T, N>; N]) -> [Dual<T, N>; M],
    inputs: [T; N],
) -> ([T; M], [[T; N]; M]) {
    let outputs = function(from_fn(|at| Dual::input(inputs[at], at)));
    (outputs.map(|o| o.value), outputs.map(|o| o.partials))
}

/// The values of `function` at `inputs`, and the gradient of a loss with respect to the inputs, given its `gradient`
/// with respect to the outputs.
///
/// ```
/// use wgpu_rnn::cell::pullback;
/// let ([product, sum], inputs) = pullback(|[a, b]| [a * b, a + b], [3.0, 5.0], [10.0, 1.0]);
/// assert_eq!((product, sum, inputs), (15.0, 8.0, [51.0, 31.0]));
/// ```
#[inline]
pub fn pullback<T: Real, const N: usize, const M: usize>(
    function: impl FnOnce([Dual<T, N>; N]) -> [Dual<T, N>; M],
    inputs: [T; N],
    gradient: [T; M],
) -> ([T; M], [T; N]) {
    let (values, partials) = jacobian(function, inputs);
    let inputs = from_fn(|input| {
        (0..M).fold(T::zero(), |sum, output| {
            sum + gradient[output] * partials[output][input]
        })
    });
    (values, inputs)
}
