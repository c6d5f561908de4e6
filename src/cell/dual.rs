//! Forward-mode dual numbers: a value and its derivatives with respect to `N` inputs.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::number::Number;

/// A value with its `N` partial derivatives.
#[derive(Debug, Clone, Copy)]
pub struct Dual<T, const N: usize> {
    /// The value.
    pub value: T,
    /// Its derivative with respect to each input.
    pub partials: [T; N],
}

// Plain loops over the partials: closures over arrays are not always inlined into the vectorised function.

impl<T: Number, const N: usize> Dual<T, N> {
    /// Input number `index`: its derivative with respect to itself is 1.
    #[inline(always)]
    pub fn input(value: T, index: usize) -> Self {
        let mut input = Self::fixed(value);
        input.partials[index] = value.constant(1.0);
        input
    }

    /// A value that depends on no input.
    #[inline(always)]
    pub fn fixed(value: T) -> Self {
        Self {
            value,
            partials: [value.constant(0.0); N],
        }
    }

    /// The chain rule: `value = f(self)`, `slope = f'(self)`.
    #[inline(always)]
    pub(super) fn chain(self, value: T, slope: T) -> Self {
        let mut partials = self.partials;
        for partial in &mut partials {
            *partial = slope * *partial;
        }
        Self { value, partials }
    }
}

impl<T: Number, const N: usize> Add for Dual<T, N> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut partials = self.partials;
        for (partial, other) in partials.iter_mut().zip(&other.partials) {
            *partial = *partial + *other;
        }
        Self {
            value: self.value + other.value,
            partials,
        }
    }
}

impl<T: Number, const N: usize> Sub for Dual<T, N> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let mut partials = self.partials;
        for (partial, other) in partials.iter_mut().zip(&other.partials) {
            *partial = *partial - *other;
        }
        Self {
            value: self.value - other.value,
            partials,
        }
    }
}

impl<T: Number, const N: usize> Mul for Dual<T, N> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let mut partials = self.partials;
        for (partial, of_other) in partials.iter_mut().zip(&other.partials) {
            *partial = *partial * other.value + self.value * *of_other;
        }
        Self {
            value: self.value * other.value,
            partials,
        }
    }
}

impl<T: Number, const N: usize> Div for Dual<T, N> {
    type Output = Self;

    /// `(a' - (a / b) b') / b` rather than `(a' b - a b') / b^2`: the square of a large `b` would overflow.
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let mut partials = self.partials;
        for (partial, of_other) in partials.iter_mut().zip(&other.partials) {
            *partial = (*partial - value * *of_other) / other.value;
        }
        Self { value, partials }
    }
}

impl<T: Number, const N: usize> Neg for Dual<T, N> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        let mut partials = self.partials;
        for partial in &mut partials {
            *partial = -*partial;
        }
        Self {
            value: -self.value,
            partials,
        }
    }
}

impl<T: Number, const N: usize> Number for Dual<T, N> {
    type Truth = T::Truth;

    #[inline(always)]
    fn constant(self, value: f64) -> Self {
        Self::fixed(self.value.constant(value))
    }

    #[inline(always)]
    fn is_below(self, other: Self) -> T::Truth {
        self.value.is_below(other.value)
    }

    #[inline(always)]
    fn is_at_most(self, other: Self) -> T::Truth {
        self.value.is_at_most(other.value)
    }

    #[inline(always)]
    fn choose(truth: T::Truth, yes: Self, no: Self) -> Self {
        let mut partials = yes.partials;
        for (partial, no) in partials.iter_mut().zip(&no.partials) {
            *partial = T::choose(truth, *partial, *no);
        }
        Self {
            value: T::choose(truth, yes.value, no.value),
            partials,
        }
    }

    #[inline(always)]
    fn exp(self) -> Self {
        let value = self.value.exp();
        self.chain(value, value)
    }

    #[inline(always)]
    fn ln_1p(self) -> Self {
        let one = self.value.constant(1.0);
        self.chain(self.value.ln_1p(), one / (one + self.value))
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        let value = self.value.tanh();
        self.chain(value, value.constant(1.0) - value * value)
    }
}

/// The inputs of a function whose derivatives are wanted.
#[inline(always)]
pub fn inputs<T: Number, const N: usize>(values: [T; N]) -> [Dual<T, N>; N] {
    let Some(&first) = values.first() else {
        return values.map(Dual::fixed);
    };
    let mut inputs = [Dual::fixed(first); N];
    for at in 0..N {
        inputs[at] = Dual::input(values[at], at);
    }
    inputs
}

/// The gradient of a loss with respect to the inputs, given its `gradient` with respect to a function's outputs.
#[inline(always)]
pub fn pull<T: Number, const N: usize, const M: usize>(
    outputs: [Dual<T, N>; M],
    gradient: [T; M],
) -> [T; N] {
    const { assert!(M > 0, "a function without results has no loss") };
    let mut sums = outputs[0].partials;
    for sum in &mut sums {
        *sum = gradient[0] * *sum;
    }
    for (output, &gradient) in outputs[1..].iter().zip(&gradient[1..]) {
        for (sum, partial) in sums.iter_mut().zip(&output.partials) {
            *sum = *sum + gradient * *partial;
        }
    }
    sums
}

/// The values of `function` at `inputs` and the derivative of output `m` with respect to input `n`, at `[m][n]`.
///
/// ```
/// use wgpu_rnn::cell::jacobian;
/// let ([product], [[da, db]]) = jacobian(|[a, b]| [a * b], [3.0, 5.0]);
/// assert_eq!((product, da, db), (15.0, 5.0, 3.0));
/// ```
#[inline]
pub fn jacobian<T: Number, const N: usize, const M: usize>(
    function: impl FnOnce([Dual<T, N>; N]) -> [Dual<T, N>; M],
    values: [T; N],
) -> ([T; M], [[T; N]; M]) {
    let outputs = function(inputs(values));
    (outputs.map(|o| o.value), outputs.map(|o| o.partials))
}

/// The values of `function` at `values`, and the gradient of a loss with respect to them, given its `gradient` with
/// respect to the outputs: [`inputs`] and [`pull`] around a function.
///
/// ```
/// use wgpu_rnn::cell::pullback;
/// let ([product, sum], inputs) = pullback(|[a, b]| [a * b, a + b], [3.0, 5.0], [10.0, 1.0]);
/// assert_eq!((product, sum, inputs), (15.0, 8.0, [51.0, 31.0]));
/// ```
#[inline]
pub fn pullback<T: Number, const N: usize, const M: usize>(
    function: impl FnOnce([Dual<T, N>; N]) -> [Dual<T, N>; M],
    values: [T; N],
    gradient: [T; M],
) -> ([T; M], [T; N]) {
    let outputs = function(inputs(values));
    (outputs.map(|o| o.value), pull(outputs, gradient))
}
