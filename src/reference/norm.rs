//! Layer normalisation of a row.

use super::float::Float;

/// A row with mean 0 and variance 1.
#[derive(Debug, Clone)]
pub(super) struct Normalised<T> {
    /// The row, before any scale.
    pub(super) values: Vec<T>,
    /// `1 / sqrt(variance + epsilon)`
    deviation: T,
}

impl<T: Float> Normalised<T> {
    pub(super) fn new(row: &[T], epsilon: f64) -> Self {
        let center = mean(row.iter().copied());
        let variance = mean(row.iter().map(|&v| (v - center) * (v - center)));
        let deviation = T::one() / (variance + T::from_f64(epsilon)).sqrt();
        Self {
            values: row.iter().map(|&v| (v - center) * deviation).collect(),
            deviation,
        }
    }

    /// `scale * values`
    pub(super) fn scaled(&self, scale: &[T]) -> Vec<T> {
        let pairs = self.values.iter().zip(scale);
        pairs.map(|(&value, &scale)| value * scale).collect()
    }

    /// The gradient of the raw row from that of the scaled one; the scale's gradient is added to `d_scale`.
    ///
    /// With `n` the normalised row and `e = scale * d`: `deviation * (e - mean(e) - n * mean(e * n))`.
    pub(super) fn backward(&self, scale: &[T], d: &[T], d_scale: &mut [T]) -> Vec<T> {
        for ((sum, &d), &n) in d_scale.iter_mut().zip(d).zip(&self.values) {
            *sum = *sum + d * n;
        }
        let e: Vec<T> = d.iter().zip(scale).map(|(&d, &s)| d * s).collect();
        let center = mean(e.iter().copied());
        let slope = mean(e.iter().zip(&self.values).map(|(&e, &n)| e * n));
        let row = e.iter().zip(&self.values);
        row.map(|(&e, &n)| self.deviation * (e - center - n * slope))
            .collect()
    }
}

fn mean<T: Float>(values: impl ExactSizeIterator<Item = T>) -> T {
    let count = T::from_f64(values.len() as f64);
    values.fold(T::zero(), |sum, value| sum + value) / count
}
