//! Metrics: scikit-learn's and seqeval's values, definitions restated plainly over generated inputs, bad input.

mod goldens;
mod properties;
mod refusals;

/// Refuses two numbers that differ by more than rounding of `terms` sums: each adds at most one unit in the last place.
#[track_caller]
fn assert_close(what: &str, got: f64, expected: f64, terms: usize) {
    let tolerance = 4.0 * f64::EPSILON * (terms as f64 + 4.0) * expected.abs().max(1.0);
    assert!(
        (got - expected).abs() <= tolerance,
        "{what}: {got} instead of {expected}, {:e} apart",
        (got - expected).abs()
    );
}
