//! Who is told how training goes.

use super::progress::Progress;

/// An epoch that was trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport<'a> {
    /// Epochs so far.
    pub epochs: u64,
    /// Epochs at most.
    pub most_epochs: u64,
    /// Mean of its batches' losses; NaN if one was not finite and its step was skipped.
    pub loss: f64,
    /// Names and values, the deciding one first.
    pub metrics: &'a [(&'a str, f64)],
    /// Whether it is the best one so far.
    pub is_best: bool,
    /// Seconds of training so far, earlier runs included, evaluation not.
    pub seconds: f64,
}

/// Told of each step and each epoch. `()` listens to nothing; with the feature `report`, `ProgressBar` shows a bar on a
/// terminal and prints plain lines elsewhere.
pub trait Observer {
    /// After a step. `loss` is the mean of an epoch's losses so far as last looked at, about a second ago.
    fn step(&mut self, progress: &Progress, loss: Option<f64>) {
        let _ = (progress, loss);
    }

    /// After an epoch.
    fn epoch(&mut self, report: &EpochReport<'_>) {
        let _ = report;
    }

    /// Training ended, for whatever reason.
    fn end(&mut self) {}
}

impl Observer for () {}
