//! A bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar as Bar, ProgressStyle};

use super::observer::{EpochReport, Observer};
use super::progress::Progress;

/// Between plain lines.
const PAUSE: Duration = Duration::from_secs(15);

/// Shows steps, loss, tokens a second and the remaining time as a bar on a terminal; elsewhere prints a line every 15 seconds.
/// Epochs get a line of their own.
#[derive(Debug)]
pub struct ProgressBar {
    bar: Bar,
    last_line: Instant,
}

impl Default for ProgressBar {
    fn default() -> Self {
        let bar = Bar::new(0);
        let template = "{elapsed_precise} [{bar:32}] {pos}/{len} steps, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            last_line: Instant::now(),
        }
    }
}

impl ProgressBar {
    fn line(&self, line: &str) {
        match self.bar.is_hidden() {
            true => println!("{line}"),
            false => self.bar.println(line),
        }
    }
}

impl Observer for ProgressBar {
    fn step(&mut self, progress: &Progress, loss: Option<f64>) {
        let text = describe(progress, loss);
        self.bar.set_length(progress.total());
        self.bar.set_position(progress.steps());
        if self.bar.is_hidden() && self.last_line.elapsed() >= PAUSE {
            self.last_line = Instant::now();
            println!("step {} of {}, {text}", progress.steps(), progress.total());
        }
        self.bar.set_message(text);
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        self.line(&epoch_line(report));
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn describe(progress: &Progress, loss: Option<f64>) -> String {
    let mut parts = Vec::new();
    if let Some(loss) = loss {
        parts.push(format!("loss {loss:.4}"));
    }
    if let Some(rate) = progress.tokens_per_second() {
        parts.push(format!("{rate:.0} tokens/s"));
    }
    if let Some(remaining) = progress.remaining() {
        let seconds = remaining.as_secs();
        parts.push(format!("{}:{:02} left", seconds / 60, seconds % 60));
    }
    parts.join(", ")
}

fn epoch_line(report: &EpochReport<'_>) -> String {
    let metrics = report.metrics.iter();
    let metrics: String = metrics
        .map(|(name, value)| format!(", {name} {value:.4}"))
        .collect();
    format!(
        "epoch {:3} of {}: loss {:.4}{metrics}, {:.0} s{}",
        report.epochs,
        report.most_epochs,
        report.loss,
        report.seconds,
        if report.is_best { ", best so far" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_known() {
        let mut progress = Progress::new(200);
        assert_eq!(describe(&progress, None), "");
        for _ in 0..10 {
            progress.step(512, Duration::from_millis(500));
        }
        let text = describe(&progress, Some(0.25));
        assert_eq!(text, "loss 0.2500, 1024 tokens/s, 1:35 left");
    }

    #[test]
    fn an_epoch_has_a_line() {
        let report = EpochReport {
            epochs: 2,
            most_epochs: 10,
            loss: 0.5,
            metrics: &[("AUC", 0.75), ("log loss", 0.4)],
            is_best: true,
            seconds: 12.3,
        };
        let line = "epoch   2 of 10: loss 0.5000, AUC 0.7500, log loss 0.4000, 12 s, best so far";
        assert_eq!(epoch_line(&report), line);
    }
}
