//! What cells compute with: numbers that know the activations.

use super::activation::formula;
use super::dual::Dual;
use super::number::Number;
use crate::config::Activation;

/// A [`Number`] with the activations and their slopes; by their formulas, unless it knows a faster way.
pub trait Real: Number {
    /// `activation(self)`
    #[inline(always)]
    fn activate(self, activation: Activation) -> Self {
        formula(activation, self)
    }

    /// Likewise, with the derivative with respect to `self`.
    #[inline(always)]
    fn activate_with_slope(self, activation: Activation) -> [Self; 2] {
        let Dual { value, partials } = formula(activation, Dual::<Self, 1>::input(self, 0));
        [value, partials[0]]
    }
}

impl Real for f32 {}
impl Real for f64 {}

impl<T: Real, const N: usize> Real for Dual<T, N> {
    /// A function of one number: its own derivative once, and the chain rule.
    #[inline(always)]
    fn activate(self, activation: Activation) -> Self {
        let [value, slope] = self.value.activate_with_slope(activation);
        self.chain(value, slope)
    }
}

/// `activation(x)`
#[inline(always)]
pub fn activate<T: Real>(activation: Activation, x: T) -> T {
    x.activate(activation)
}

/// A [`Real`] that is one number, with what is needed beside cells.
pub trait Scalar: Real<Truth = bool> {
    /// The nearest number to a constant.
    fn from_f64(value: f64) -> Self;

    /// The value.
    fn to_f64(self) -> f64;

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
}

macro_rules! scalar {
    ($float:ident) => {
        impl Scalar for $float {
            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $float
            }
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
        }
    };
}

scalar!(f32);
scalar!(f64);
