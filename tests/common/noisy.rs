//! Monte Carlo arithmetic (Parker 1997): numbers whose every operation is off by a random rounding.

use std::cell::Cell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use wgpu_rnn::Precision;
use wgpu_rnn::cell::{Number, Real, Scalar};
use wgpu_rnn::reference::Float;

/// An `f64` of which each operation's result is multiplied by `1 + d`, with `d` uniform in `[-e, e]` and `e` half an
/// `f32::EPSILON`: what `f32` does to it, but independent of the order of operations, of fused multiplications and of
/// luck. How far a result strays from the exact one is how far any correct `f32` implementation may stray.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub(crate) struct Noisy(f64);

/// How exact the operations of a device are that need not be correctly rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accuracy {
    /// Rust's `f32`: the functions within one unit in the last place.
    Libm,
    /// What WGSL requires (section 15.7.4.1): a division within 2.5 units in the last place, `exp(x)` within `3 + 2 |x|`.
    Wgsl,
}

thread_local! {
    static STORAGE: Cell<Precision> = const { Cell::new(Precision::F32) };
    static STATE: Cell<u64> = const { Cell::new(1) };
    static ACCURACY: Cell<Accuracy> = const { Cell::new(Accuracy::Libm) };
}

/// Starts another sample on this thread.
pub(crate) fn start((accuracy, storage): (Accuracy, Precision), sample: u64) {
    ACCURACY.set(accuracy);
    STORAGE.set(storage);
    STATE.set(sample.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
}

impl Noisy {
    /// The result of an operation that is within `roundings` (half units in the last place) of the exact one: `libm` or
    /// `wgsl`.
    fn either(exact: f64, libm: f64, wgsl: impl Fn() -> f64) -> Self {
        match ACCURACY.get() {
            Accuracy::Libm => Self::rounded(exact, libm),
            Accuracy::Wgsl => Self::rounded(exact, wgsl()),
        }
    }

    fn rounded(exact: f64, roundings: f64) -> Self {
        let relative = random() * f64::from(f32::EPSILON) / 2.0;
        Self(exact * (1.0 + roundings * relative))
    }
}

/// Uniform in -1..1.
fn random() -> f64 {
    STATE.with(|state| {
        // xorshift64: good enough for roundings, and the reference does hundreds of millions of operations.
        let mut bits = state.get();
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        state.set(bits);
        (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

impl From<f32> for Noisy {
    fn from(value: f32) -> Self {
        Self(value.into())
    }
}

impl Add for Noisy {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::rounded(self.0 + other.0, 1.0)
    }
}

impl Sub for Noisy {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::rounded(self.0 - other.0, 1.0)
    }
}

impl Mul for Noisy {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::rounded(self.0 * other.0, 1.0)
    }
}

impl Div for Noisy {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self::either(self.0 / other.0, 1.0, || 5.0)
    }
}

impl Neg for Noisy {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Number for Noisy {
    type Truth = bool;

    fn constant(self, value: f64) -> Self {
        Self(value)
    }
    fn is_below(self, other: Self) -> bool {
        self < other
    }
    fn is_at_most(self, other: Self) -> bool {
        self <= other
    }
    fn choose(truth: bool, yes: Self, no: Self) -> Self {
        if truth { yes } else { no }
    }
    fn exp(self) -> Self {
        Self::either(self.0.exp(), 2.0, || 2.0 * (3.0 + 2.0 * self.0.abs()))
    }
    fn ln_1p(self) -> Self {
        Self::rounded(self.0.ln_1p(), 2.0)
    }
    fn tanh(self) -> Self {
        // The shaders compute 1 - 2 e / (1 + e) with e = exp(-2 |x|), and a polynomial near zero.
        let wgsl = || {
            let x = self.0.abs();
            let e = (-2.0 * x).exp();
            2.0 + 2.0 * e / (1.0 + e) * (2.0 * (3.0 + 4.0 * x) + 5.0)
        };
        Self::either(self.0.tanh(), 2.0, wgsl)
    }
}

impl Real for Noisy {}

impl Scalar for Noisy {
    fn from_f64(value: f64) -> Self {
        Self(value)
    }
    fn to_f64(self) -> f64 {
        self.0
    }
    fn sqrt(self) -> Self {
        // `1 / inverseSqrt(x)`: 2 units in the last place, and the division's.
        Self::either(self.0.sqrt(), 1.0, || 9.0)
    }
}

impl Float for Noisy {
    /// In half precision a rounding to one of 11 bits, by half a unit of the last place, and below the smallest normal number
    /// by half the distance of its neighbours. (WGSL lets an implementation take the other neighbour, or 0 for a number that
    /// is not normal; the software adapters round to the nearest.)
    fn stored(self) -> Self {
        if STORAGE.get() == Precision::F32 {
            return self;
        }
        const HALF_UNIT: f64 = 1.0 / 2048.0;
        const SMALLEST_NORMAL: f64 = 1.0 / 16384.0;
        let unit = self.0.abs().max(SMALLEST_NORMAL) * HALF_UNIT;
        Self(self.0 + unit * random())
    }
}
