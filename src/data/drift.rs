//! How far the data of today is from the data of training.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite};
use crate::metrics::quantile;

/// A feature's distribution in the training part, to compare later data with by the population stability index.
///
/// The usual reading: below 0.1 stable, up to 0.25 a change to look into, above it another population (Siddiqi 2006,
/// *Credit Risk Scorecards*). The index has a bias of about `(bins - 1) * (1 / reference + 1 / samples)` where nothing has
/// changed (Yurdakul and Naranjo 2020): compare months of thousands of values, not days of dozens.
///
/// ```
/// use wgpu_rnn::data::DriftReference;
///
/// let training: Vec<f32> = (0..1000).map(|n| n as f32).collect();
/// let reference = DriftReference::new(&training, 10)?;
/// assert!(reference.index(&training)? < 1e-9);
/// let shifted: Vec<f32> = training.iter().map(|v| v + 500.0).collect();
/// assert!(reference.index(&shifted)? > 0.25);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct DriftReference {
    /// Ascending; bin `b` holds what is above edge `b - 1` and at most edge `b`.
    edges: Vec<f32>,
    counts: Vec<u64>,
}

/// A reference as a file has it, not yet believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    edges: Vec<f32>,
    counts: Vec<u64>,
}

impl TryFrom<Fields> for DriftReference {
    type Error = Error;

    fn try_from(Fields { edges, counts }: Fields) -> Result<Self> {
        check_finite("edge of a drift reference", &edges)?;
        let total = counts.iter().try_fold(0u64, |sum, &n| sum.checked_add(n));
        if counts.len() != edges.len() + 1
            || !edges.windows(2).all(|pair| pair[0] < pair[1])
            || total.is_none_or(|total| total == 0)
        {
            return Err(Error::data(
                "drift reference",
                "ascending edges and one count more, not all of them 0",
                format!("{} edges and {} counts", edges.len(), counts.len()),
            ));
        }
        Ok(Self { edges, counts })
    }
}

impl DriftReference {
    /// Bins the training part's `values` at their quantiles, so that `bins` bins (10 is usual) hold equally many; where
    /// values repeat, equal edges are merged and there are fewer. A constant feature has three: its value, below, above.
    ///
    /// # Errors
    /// [`Error::Option`] for less than 2 bins or more than 65536; [`Error::Data`] if there are no values, or names the
    /// first that is not finite.
    pub fn new(values: &[f32], bins: usize) -> Result<Self> {
        const MOST: usize = 1 << 16;
        if !(2..=MOST).contains(&bins) {
            return Err(Error::option(
                "bins",
                format!("between 2 and {MOST}, got {bins}"),
            ));
        }
        check_values(values)?;
        let mut sorted: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut edges: Vec<f32> = (1..bins)
            .map(|bin| quantile(&sorted, bin as f64 / bins as f64) as f32)
            .collect();
        // No training value lies above the largest.
        let largest = sorted[sorted.len() - 1] as f32;
        edges.dedup();
        edges.retain(|&edge| edge < largest);
        if edges.is_empty() {
            // (Nearly) one value: it, what is below and what is above.
            edges = vec![largest.next_down(), largest];
            edges.retain(|edge| edge.is_finite());
        }
        let counts = count(&edges, values);
        Ok(Self { edges, counts })
    }

    /// Upper edges of all bins but the last; a bin holds its own.
    pub fn edges(&self) -> &[f32] {
        &self.edges
    }

    /// Training values in each bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// [`population_stability_index`] of `values` against the training part.
    ///
    /// # Errors
    /// [`Error::Data`] if there are no values, or names the first that is not finite.
    pub fn index(&self, values: &[f32]) -> Result<f64> {
        check_values(values)?;
        population_stability_index(&self.counts, &count(&self.edges, values))
    }
}

fn check_values(values: &[f32]) -> Result<()> {
    check_finite("value", values)?;
    match values.is_empty() {
        true => Err(Error::data("values", "at least one", "none")),
        false => Ok(()),
    }
}

fn count(edges: &[f32], values: &[f32]) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    for &value in values {
        counts[edges.partition_point(|&edge| edge < value)] += 1;
    }
    counts
}

/// `sum over bins of (actual - expected) * ln(actual / expected)` over the bins' shares (Jeffreys' divergence; as an index
/// Lewis 1994, *An Introduction to Credit Scoring*). So that an empty bin stays finite, half a count is added to each bin
/// of both sides. Bins may be categories, such as the numbers of a vocabulary.
///
/// # Errors
/// [`Error::Shape`] if the sides have different bins; [`Error::Data`] if a side has no counts.
pub fn population_stability_index(expected: &[u64], actual: &[u64]) -> Result<f64> {
    if expected.len() != actual.len() {
        return Err(Error::shape("counts of bins", expected.len(), actual.len()));
    }
    let total = |what: &str, counts: &[u64]| {
        let total: u128 = counts.iter().map(|&count| u128::from(count)).sum();
        match total {
            0 => Err(Error::data(what, "a bin with a count", "none")),
            _ => Ok(total as f64 + 0.5 * counts.len() as f64),
        }
    };
    let expected_total = total("expected counts", expected)?;
    let actual_total = total("actual counts", actual)?;
    let term = |(&expected, &actual): (&u64, &u64)| {
        let expected = (expected as f64 + 0.5) / expected_total;
        let actual = (actual as f64 + 0.5) / actual_total;
        (actual - expected) * (actual / expected).ln()
    };
    Ok(expected.iter().zip(actual).map(term).sum())
}
