//! The numbers that the reference computes in.

use crate::cell::Scalar;

/// A number that the reference computes in: `f32` or `f64`.
pub trait Float: Scalar + Default + PartialEq {
    /// The number as it comes back where a device may store it in less [`Precision`](crate::Precision): the number itself.
    /// A number type that studies roundings tells otherwise.
    fn stored(self) -> Self {
        self
    }
}

impl Float for f32 {}
impl Float for f64 {}

/// Each value as it comes back from storage: see [`Float::stored`].
pub(super) fn store<T: Float>(values: &mut [T]) {
    for value in values {
        *value = value.stored();
    }
}

pub(super) fn stored<T: Float>(values: &[T]) -> Vec<T> {
    values.iter().map(|value| value.stored()).collect()
}
