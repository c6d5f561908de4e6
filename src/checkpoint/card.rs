//! What a model is, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::data::HoldOut;
use crate::error::{Error, Result};
use crate::metrics::Latency;

/// A model card (Mitchell et al. 2019): what the model does, on which data it was judged, how well, how fast.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The model's name.
    pub name: String,
    /// What it predicts, from what, when.
    pub task: String,
    /// What a sequence is: its steps, their features, typical lengths, what is predicted where.
    pub sequence_pattern: String,
    /// Why a recurrent network and not a simpler model: what order carries that aggregates do not.
    pub why_recurrence: String,
    /// Which data, from where, over which time, with which flaws.
    pub data: String,
    /// The unit of the hold-out's times, such as "hours since 2021-01-01".
    pub time_unit: String,
    /// What was held out.
    pub hold_out: Option<HoldOut>,
    /// On the hold-out, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Of one prediction, by device.
    pub latency: BTreeMap<String, Latency>,
    /// What it must not be used for, when to retrain, anything else.
    pub notes: Vec<String>,
}

impl ModelCard {
    /// Refuses what a file cannot hold.
    pub(super) fn check(&self) -> Result<()> {
        match self.metrics.iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => Err(Error::data(
                format!("model card, metric `{name}`"),
                "a finite number",
                value,
            )),
            None => Ok(()),
        }
    }

    /// The card as Markdown; what is empty is left out.
    pub fn to_markdown(&self) -> String {
        let name = if self.name.is_empty() {
            "Model"
        } else {
            &self.name
        };
        let mut text = format!("# {}\n", line(name));
        let hold_out = self.hold_out.as_ref().map(|hold_out| {
            let unit = match self.time_unit.is_empty() {
                true => String::new(),
                false => format!(" (times in {})", self.time_unit),
            };
            format!("{hold_out}{unit}")
        });
        for (title, body) in [
            ("Task", self.task.as_str()),
            ("Sequence pattern", &self.sequence_pattern),
            ("Why recurrence", &self.why_recurrence),
            ("Data", &self.data),
            ("Hold-out", hold_out.as_deref().unwrap_or_default()),
        ] {
            if !body.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n## {title}\n\n{}\n", body.trim_end());
            }
        }
        if !self.metrics.is_empty() {
            text.push_str("\n## Metrics on the hold-out\n\n| metric | value |\n|---|---:|\n");
            for (name, value) in &self.metrics {
                let _ = writeln!(text, "| {} | {value:.4} |", cell(name));
            }
        }
        if !self.latency.is_empty() {
            text.push_str("\n## Latency of one prediction\n\n");
            text.push_str(
                "| device | p50 | p95 | p99 | maximum | runs |\n|---|---:|---:|---:|---:|---:|\n",
            );
            for (device, latency) in &self.latency {
                let Latency {
                    count,
                    p50,
                    p95,
                    p99,
                    max,
                } = latency;
                let _ = writeln!(
                    text,
                    "| {} | {p50:.3?} | {p95:.3?} | {p99:.3?} | {max:.3?} | {count} |",
                    cell(device)
                );
            }
        }
        if !self.notes.is_empty() {
            text.push_str("\n## Notes\n\n");
            for note in &self.notes {
                let _ = writeln!(text, "- {}", line(note));
            }
        }
        text
    }
}

/// A text on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text that stays in its cell of a table.
fn cell(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('|', "\\|")
}
