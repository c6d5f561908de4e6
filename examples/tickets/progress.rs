//! A bar on a terminal, plain lines elsewhere.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::train::Epoch;

/// Training's progress.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Instant,
    tokens: u64,
}

impl Progress {
    pub(crate) fn new(steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        let template = "{elapsed_precise} [{bar:40}] {pos}/{len} steps, {msg}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            start: Instant::now(),
            tokens: 0,
        }
    }

    /// After a step: how many there were, and the events of this one.
    pub(crate) fn step(&mut self, steps: u64, tokens: u64) {
        self.tokens += tokens;
        self.bar.set_position(steps);
        let rate = self.tokens as f64 / self.start.elapsed().as_secs_f64();
        self.bar.set_message(format!("{rate:.0} events/s"));
    }

    /// After an epoch.
    pub(crate) fn epoch(&self, number: u64, of: u64, epochs: &[Epoch]) {
        let Some(epoch) = epochs.last() else { return };
        let line = format!(
            "epoch {number:3} of {of}: loss {:.4}, validation AUC {:.4}, {:.0} s",
            epoch.loss,
            epoch.validation_auc,
            self.start.elapsed().as_secs_f64()
        );
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
