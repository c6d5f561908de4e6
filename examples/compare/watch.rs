//! What watches a run: shows how far it is, and ends it when it is interrupted or good enough.

use wgpu_rnn::train::{EpochReport, Interrupt, Observer, Progress, ProgressBar};

/// Shows the bar, passes on the user's interrupt, and ends the run when its first metric is below a bound.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    user: &'a Interrupt,
    /// What the run is given.
    pub(crate) run: Interrupt,
    bar: ProgressBar,
    good_enough: f64,
}

impl<'a> Watch<'a> {
    /// A run that the user's interrupt ends, and a first metric below `good_enough`.
    pub(crate) fn new(user: &'a Interrupt, good_enough: f64) -> Self {
        Self {
            user,
            run: Interrupt::default(),
            bar: ProgressBar::default(),
            good_enough,
        }
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, progress: &Progress, loss: Option<f64>) {
        self.bar.step(progress, loss);
        if self.user.is_set() {
            self.run.set();
        }
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        let metric = report.metrics.first().map(|&(_, metric)| metric);
        if metric.is_some_and(|metric| metric < self.good_enough) {
            self.run.set();
        }
    }

    fn end(&mut self) {
        self.bar.end();
    }
}
