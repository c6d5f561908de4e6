//! Whether probabilities mean what they say.

use super::quantile;
use crate::error::{Error, Result};

/// Where the edges of calibration bins are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binning {
    /// Equal widths over `[0, 1]`.
    Uniform,
    /// At quantiles of the probabilities (linear interpolation), so that bins hold about equally many.
    Quantile,
}

/// One bin of a calibration curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationBin {
    /// Lower edge, excluded but for the first bin.
    pub low: f64,
    /// Upper edge, included.
    pub high: f64,
    /// Samples in it.
    pub count: usize,
    /// Their mean probability; 0 in an empty bin.
    pub predicted: f64,
    /// Their share of positives; 0 in an empty bin.
    pub observed: f64,
}

/// A calibration curve (reliability diagram).
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// All bins in order, empty ones included.
    pub bins: Vec<CalibrationBin>,
}

impl Calibration {
    /// Bins probabilities in ascending order.
    pub(super) fn new(ascending: &[(f64, bool)], bins: usize, binning: Binning) -> Result<Self> {
        const MOST: usize = 1 << 16;
        if !(1..=MOST).contains(&bins) {
            return Err(Error::option(
                "bins",
                format!("between 1 and {MOST}, got {bins}"),
            ));
        }
        let probabilities: Vec<f64> = ascending.iter().map(|(p, _)| *p).collect();
        let edges: Vec<f64> = (0..=bins)
            .map(|edge| match (binning, edge as f64 / bins as f64) {
                (Binning::Uniform, _) if edge == bins => 1.0,
                // As numpy's linspace rounds, on whose edges scikit-learn bins.
                (Binning::Uniform, _) => edge as f64 * (1.0 / bins as f64),
                (Binning::Quantile, share) => quantile(&probabilities, share),
            })
            .collect();
        let mut rest = ascending;
        let bins = edges
            .windows(2)
            .enumerate()
            .map(|(index, edge)| {
                let last = index + 1 == bins;
                let inside = rest.partition_point(|&(p, _)| last || p <= edge[1]);
                let (bin, after) = rest.split_at(inside);
                rest = after;
                summary(bin, edge)
            })
            .collect();
        Ok(Self { bins })
    }

    /// Expected calibration error: the mean gap between predicted and observed, weighted by the bins' counts (Naeini et
    /// al. 2015).
    pub fn expected_error(&self) -> f64 {
        let samples: usize = self.bins.iter().map(|bin| bin.count).sum();
        let gaps = self
            .bins
            .iter()
            .map(|bin| bin.count as f64 * (bin.predicted - bin.observed).abs());
        gaps.sum::<f64>() / samples as f64
    }
}

fn summary(bin: &[(f64, bool)], edge: &[f64]) -> CalibrationBin {
    let count = bin.len();
    let share = |sum: f64| if count == 0 { 0.0 } else { sum / count as f64 };
    CalibrationBin {
        low: edge[0],
        high: edge[1],
        count,
        predicted: share(bin.iter().map(|(p, _)| p).sum()),
        observed: share(bin.iter().filter(|(_, label)| *label).count() as f64),
    }
}
