//! The numbers that a cell's formulas are written in.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `f32`, `f64`, on the CPU device a vector of `f32`, or a [`Dual`](super::Dual) of any of these, which carries derivatives along.
/// Comparisons look at the value only, and nothing branches on their result, since the numbers of a vector may differ.
pub trait Number:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// What a comparison says: `bool`, or one of it for each number of a vector.
    type Truth: Copy + Debug;

    /// The nearest number to a constant, as many of them as there are in `self`; its derivatives are zero.
    fn constant(self, value: f64) -> Self;

    /// `self < other`
    fn is_below(self, other: Self) -> Self::Truth;

    /// `self <= other`
    fn is_at_most(self, other: Self) -> Self::Truth;

    /// `yes` where `truth` holds, else `no`.
    fn choose(truth: Self::Truth, yes: Self, no: Self) -> Self;

    /// `e^self`. Cells ask for it up to 0 only, and a vector need not know it beyond.
    fn exp(self) -> Self;

    /// `ln(1 + self)`
    fn ln_1p(self) -> Self;

    /// Hyperbolic tangent.
    fn tanh(self) -> Self;

    /// Itself within `[low, high]`, the nearer bound outside. The derivative passes at a bound, as in PyTorch, and NaN
    /// stays NaN.
    #[inline(always)]
    fn clamp(self, low: f64, high: f64) -> Self {
        let (low, high) = (self.constant(low), self.constant(high));
        let upper = Self::choose(high.is_below(self), high, self);
        Self::choose(self.is_below(low), low, upper)
    }
}

macro_rules! number {
    ($float:ident) => {
        impl Number for $float {
            type Truth = bool;

            #[inline]
            fn constant(self, value: f64) -> Self {
                value as $float
            }
            #[inline]
            fn is_below(self, other: Self) -> bool {
                self < other
            }
            #[inline]
            fn is_at_most(self, other: Self) -> bool {
                self <= other
            }
            #[inline]
            fn choose(truth: bool, yes: Self, no: Self) -> Self {
                if truth { yes } else { no }
            }
            #[inline]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline]
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            #[inline]
            fn tanh(self) -> Self {
                self.tanh()
            }
        }
    };
}

number!(f32);
number!(f64);

/// `value` bounded to `[-bound, bound]`, or as it is without a bound.
#[inline(always)]
pub fn clip<T: Number>(value: T, bound: Option<f32>) -> T {
    match bound {
        Some(bound) => value.clamp(-f64::from(bound), f64::from(bound)),
        None => value,
    }
}

/// `share * old + (1 - share) * new`: the expectation of zoneout, or with a share of 0 or 1 a draw of it. The state that
/// does not count is not looked at, so its NaN or infinity stays out.
#[inline(always)]
pub fn mix<T: Number>(share: T, old: T, new: T) -> T {
    let (zero, one) = (share.constant(0.0), share.constant(1.0));
    let both = share * old + (one - share) * new;
    let seen = T::choose(one.is_at_most(share), old, both);
    T::choose(share.is_at_most(zero), new, seen)
}
