//! What a model is worth, measured on the host: classification, tagging, forecasting, latency.
//!
//! Everything is computed in `f64` from the model's `f32` outputs, in a fixed order, so the same outputs give the same
//! bits. Definitions are scikit-learn's and seqeval's, and the tests compare with their values. What cannot be judged is
//! an error, not a number: values that are not finite, labels outside their range, an AUC of one class.
//!
//! | task | type | metrics |
//! |---|---|---|
//! | yes or no | [`BinaryScores`] | AUC, ROC, average precision, F1, log loss, Brier, calibration |
//! | one class of several | [`ConfusionMatrix`] | accuracy, macro and micro F1 |
//! | tags | [`TagScores`] | F1 of tokens and of entities |
//! | numbers | [`ForecastErrors`] | MAE, RMSE, WAPE, MASE, quantile loss |
//! | time | [`Latency`] | p50, p95, p99, maximum |
//!
//! ```
//! use wgpu_rnn::metrics::BinaryScores;
//!
//! let labels = [0.0, 0.0, 1.0, 1.0];
//! let scores = BinaryScores::new(&labels, &[0.1, 0.4, 0.35, 0.8])?;
//! assert_eq!(scores.auc()?, 0.75);
//! assert_eq!(scores.best_f1()?.threshold, 0.35);
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```

mod binary;
mod calibration;
mod classes;
mod forecast;
mod latency;
mod tagging;

pub use binary::{BestF1, BinaryScores, RocPoint};
pub use calibration::{Binning, Calibration, CalibrationBin};
pub use classes::{ConfusionMatrix, argmax};
pub use forecast::ForecastErrors;
pub use latency::Latency;
pub use tagging::{Agreement, Entity, TagScores, entities};

use crate::error::{Error, Result};

/// Refuses nothing to judge, and two sides that differ in length.
fn check_lengths(what: &str, expected: usize, got: usize) -> Result<()> {
    if expected == 0 {
        return Err(Error::data(what, "at least one", "none"));
    }
    if expected != got {
        return Err(Error::shape(
            what,
            format!("{expected}, one for each actual value"),
            got,
        ));
    }
    Ok(())
}

/// `2 * hits / (predicted + actual)`, the harmonic mean of precision and recall; 0 where nothing was predicted or is there.
fn f1(hits: u64, predicted: u64, actual: u64) -> f64 {
    ratio(2 * hits, predicted + actual)
}

/// A fraction whose empty case is 0.
fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

/// The quantile at `share` of sorted values, linearly between neighbours (numpy's and scikit-learn's default).
pub(crate) fn quantile(ascending: &[f64], share: f64) -> f64 {
    let place = share * (ascending.len() - 1) as f64;
    let (low, high) = (
        ascending[place.floor() as usize],
        ascending[place.ceil() as usize],
    );
    low + (high - low) * place.fract()
}
