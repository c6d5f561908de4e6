//! Numbers that carry the largest error that single precision may have put into them: formulas written with them once give
//! expected values and tolerances both.

use std::ops::{Add, Div, Mul, Neg, Sub};

const EPSILON: f64 = f32::EPSILON as f64;

/// A value and a bound of the error of its `f32` twin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rounded {
    pub(crate) value: f64,
    pub(crate) error: f64,
}

impl Rounded {
    /// A result whose operands bring in `error`, rounded by so many units in the last place.
    fn of(value: f64, error: f64, units: f64) -> Self {
        Self {
            value,
            // Half a unit for the rounding itself would do; half of them may also be flushed to zero.
            error: error + units * EPSILON * (value.abs() + error) + f64::from(f32::MIN_POSITIVE),
        }
    }

    /// WGSL grants a square root the errors of an inverse square root and of a division.
    pub(crate) fn sqrt(self) -> Self {
        let root = self.value.max(0.0).sqrt();
        let error = match root > 0.0 {
            true => (self.error / root).min(self.error.sqrt()),
            false => self.error.sqrt(),
        };
        Self::of(root, error, 4.5)
    }

    /// WGSL grants an exponential `3 + 2 |x|` units. Below -87 a device may stay at `exp(-87)`.
    pub(crate) fn exp(self) -> Self {
        let error = self.value.exp() * self.error.exp_m1() + 2.0 * f64::from(f32::MIN_POSITIVE);
        Self::of(self.value.exp(), error, 3.0 + 2.0 * self.value.abs())
    }

    /// `ln(1 + self)` of a positive number, with what is granted beside its rounding.
    pub(crate) fn ln_1p(self, granted: f64) -> Self {
        Self::of(self.value.ln_1p(), self.error + granted, 1.0)
    }

    /// By `1 - 2 e / (1 + e)` with `e = exp(-2 |x|)`, down to 0.625: there the roundings come to 6.4 units.
    pub(crate) fn tanh(self) -> Self {
        let steepest = (self.value.abs() - self.error).max(0.0).tanh();
        let error = self.error * (1.0 - steepest * steepest);
        Self::of(self.value.tanh(), error, 6.5)
    }

    pub(crate) fn clamp(self, largest: f64) -> Self {
        Self {
            value: self.value.clamp(-largest, largest),
            ..self
        }
    }

    pub(crate) fn not_negative(self) -> Self {
        Self {
            value: self.value.max(0.0),
            ..self
        }
    }
}

impl From<f32> for Rounded {
    fn from(value: f32) -> Self {
        Self {
            value: value.into(),
            error: 0.0,
        }
    }
}

impl Neg for Rounded {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            value: -self.value,
            ..self
        }
    }
}

impl Add for Rounded {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::of(self.value + other.value, self.error + other.error, 1.0)
    }
}

impl Sub for Rounded {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Rounded {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let error = self.value.abs() * other.error
            + other.value.abs() * self.error
            + self.error * other.error;
        Self::of(self.value * other.value, error, 1.0)
    }
}

impl Div for Rounded {
    type Output = Self;
    /// WGSL grants a division 2.5 units in the last place.
    fn div(self, other: Self) -> Self {
        let quotient = self.value / other.value;
        let smallest = (other.value.abs() - other.error).max(0.0);
        let error = (self.error + quotient.abs() * other.error) / smallest;
        Self::of(quotient, error, 2.5)
    }
}
