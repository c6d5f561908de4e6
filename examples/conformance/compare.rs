//! Results against expected values.

use std::fmt;

use crate::Stop;
use crate::manifest::Case;
use crate::tensor::{Tensor, Tensors};

/// A tensor that is farther from what is expected than it may be.
#[derive(Debug)]
pub(crate) struct Difference {
    tensor: String,
    largest: f64,
    tolerance: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensor,
            largest,
            tolerance,
        } = self;
        write!(
            formatter,
            "{tensor}: largest difference {largest:e}, tolerance {tolerance:e}"
        )
    }
}

/// The tensors of `case` that `results` miss. `double`: the results were computed in 64-bit floats from exactly the case's
/// numbers, and are also held to 1e-11 of the largest element where the case has expectations in that precision. Where all
/// elements cancel to nothing, what is left is the rounding of terms of order 1: 1e-14, about 50 roundings, is allowed.
pub(crate) fn compare(
    case: &Case<'_>,
    expected: &Tensors,
    results: &Tensors,
    double: bool,
) -> Result<Vec<Difference>, Stop> {
    let mut differences = Vec::new();
    for (name, tolerance) in case.tolerances()? {
        let source = case.compare_as(name);
        let missing = |what: &str| Stop::Broken(format!("tensor {name}: {what}"));
        let result = results
            .get(source)
            .ok_or_else(|| missing(&format!("nothing computed under the name {source}")))?;
        let in_64_bits = name.replacen('.', "64.", 1);
        let (precise, expected) = match (expected.get(&in_64_bits), expected.get(name)) {
            (Some(tensor), _) => (true, tensor),
            (None, Some(tensor)) => (false, tensor),
            (None, None) => return Err(missing("not in the file")),
        };
        expected.expect_shape(name, &result.shape)?;
        let largest = largest_difference(expected, result);
        let mut allowed = tolerance;
        if double && precise {
            let scale = expected.values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            allowed = allowed.min((1e-11 * scale).max(1e-14));
        }
        // Also true if the difference or the tolerance is NaN.
        if !matches!(largest.partial_cmp(&allowed), Some(order) if order.is_le()) {
            differences.push(Difference {
                tensor: name.to_owned(),
                largest,
                tolerance: allowed,
            });
        }
    }
    Ok(differences)
}

/// NaN if there is one in either.
fn largest_difference(expected: &Tensor, result: &Tensor) -> f64 {
    let pairs = expected.values.iter().zip(&result.values);
    let differences = pairs.map(|(expected, result)| (expected - result).abs());
    differences.fold(0.0, |largest: f64, difference| {
        if largest.is_nan() || difference.is_nan() {
            f64::NAN
        } else {
            largest.max(difference)
        }
    })
}
