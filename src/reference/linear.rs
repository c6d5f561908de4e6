//! Matrices as plain loops. A matrix is row-major, `[rows, columns]`.

use super::float::Float;

/// `matrix * vector`, one value a row.
pub(super) fn multiply<T: Float>(matrix: &[T], vector: &[T]) -> Vec<T> {
    let dot = |row: &[T]| {
        let terms = row.iter().zip(vector);
        terms.fold(T::zero(), |sum, (&weight, &value)| sum + weight * value)
    };
    matrix.chunks_exact(vector.len()).map(dot).collect()
}

/// `matrix^T * vector`, one value a column: the gradient of [`multiply`]'s vector.
pub(super) fn multiply_transposed<T: Float>(matrix: &[T], vector: &[T], columns: usize) -> Vec<T> {
    let mut result = vec![T::zero(); columns];
    for (row, &factor) in matrix.chunks_exact(columns).zip(vector) {
        for (sum, &weight) in result.iter_mut().zip(row) {
            *sum = *sum + factor * weight;
        }
    }
    result
}

/// `matrix += column * row^T`: the gradient of [`multiply`]'s matrix.
pub(super) fn add_outer<T: Float>(matrix: &mut [T], column: &[T], row: &[T]) {
    for (target, &factor) in matrix.chunks_exact_mut(row.len()).zip(column) {
        for (sum, &value) in target.iter_mut().zip(row) {
            *sum = *sum + factor * value;
        }
    }
}

/// `target += values`; an empty `values` (a bias that is not there) is zero.
pub(super) fn add<T: Float>(target: &mut [T], values: &[T]) {
    for (sum, &value) in target.iter_mut().zip(values) {
        *sum = *sum + value;
    }
}

/// `values *= factors`
pub(super) fn scale<T: Float>(values: &mut [T], factors: &[T]) {
    for (value, &factor) in values.iter_mut().zip(factors) {
        *value = *value * factor;
    }
}
