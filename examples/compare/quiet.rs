//! How far a run is, without a line for each of its epochs: there are many runs.

use wgpu_rnn::train::{Observer, Progress, ProgressBar};

/// A bar that does not tell of epochs.
#[derive(Debug, Default)]
pub(crate) struct Quiet(ProgressBar);

impl Observer for Quiet {
    fn step(&mut self, progress: &Progress, loss: Option<f64>) {
        self.0.step(progress, loss);
    }

    fn end(&mut self) {
        self.0.end();
    }
}
