//! The numbers that a cell computes with.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number with the functions that cells need: `f32`, `f64`, or a [`Dual`](super::Dual) of either, which carries
/// derivatives along. Comparisons look at the value only.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The nearest number to a constant; its derivatives are zero.
    fn from_f64(value: f64) -> Self;

    /// The value, without derivatives.
    fn to_f64(self) -> f64;

    /// `e^self`
    fn exp(self) -> Self;

    /// `ln(1 + self)`
    fn ln_1p(self) -> Self;

    /// Hyperbolic tangent.
    fn tanh(self) -> Self;

    /// Square root.
    fn sqrt(self) -> Self;

    /// Zero.
    #[inline]
    fn zero() -> Self {
        Self::from_f64(0.0)
    }

    /// One.
    #[inline]
    fn one() -> Self {
        Self::from_f64(1.0)
    }

    /// Itself within `[low, high]`, the nearer bound outside. The derivative passes at a bound, as in PyTorch, and NaN
    /// stays NaN.
    #[inline]
    fn clamp(self, low: f64, high: f64) -> Self {
        let (low, high) = (Self::from_f64(low), Self::from_f64(high));
        if self < low {
            low
        } else if self > high {
            high
        } else {
            self
        }
    }
}

macro_rules! real {
    ($float:ident) => {
        impl Real for $float {
            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $float
            }
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
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
            #[inline]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
        }
    };
}

real!(f32);
real!(f64);

/// `value` bounded to `[-bound, bound]`, or as it is without a bound.
#[inline]
pub fn clip<T: Real>(value: T, bound: Option<f32>) -> T {
    match bound {
        Some(bound) => value.clamp(-f64::from(bound), f64::from(bound)),
        None => value,
    }
}

/// `share * old + (1 - share) * new`: the expectation of zoneout, or with a share of 0 or 1 a draw of it. The state that
/// does not count is not looked at, so its NaN or infinity stays out.
#[inline]
pub fn mix<T: Real>(share: f32, old: T, new: T) -> T {
    if share == 0.0 {
        new
    } else if share == 1.0 {
        old
    } else {
        let share = T::from_f64(f64::from(share));
        share * old + (T::one() - share) * new
    }
}
