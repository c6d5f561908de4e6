//! When to stop: no better metric for a while, or someone asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::checks::check_not_negative;
use super::schedule::Goal;
use crate::error::{Error, Result};

/// What a metric that was observed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is the best so far: keep a copy of the parameters.
    Best,
    /// It is not, or not by enough.
    Worse,
    /// It is not, and patience is at an end.
    Stop,
}

/// Stops training when a metric does not become better any more (Prechelt 1998). Serialise it to go on later.
///
/// ```
/// use wgpu_rnn::train::{EarlyStopping, Goal, Verdict};
/// let mut stopping = EarlyStopping::new(Goal::Maximize, 2, 0.0)?;
/// let verdicts = [0.6, 0.7, 0.7, 0.65].map(|auc| stopping.observe(auc));
/// assert_eq!(verdicts, [Ok(Verdict::Best), Ok(Verdict::Best), Ok(Verdict::Worse), Ok(Verdict::Stop)]);
/// assert_eq!(stopping.best, Some(0.7));
/// assert_eq!(stopping.best_observation, 2);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// Where the metric shall go.
    pub goal: Goal,
    /// Observations in a row without a better metric that end training; 0: none does.
    pub patience: u64,
    /// By how much a metric has to be better to count.
    pub least_change: f64,
    /// Metrics observed.
    pub observations: u64,
    /// The best metric.
    pub best: Option<f64>,
    /// Which observation it was, from 1.
    pub best_observation: u64,
}

impl EarlyStopping {
    /// Before the first observation.
    ///
    /// # Errors
    /// [`Error::Option`] if the least change is negative or not finite.
    pub fn new(goal: Goal, patience: u64, least_change: f64) -> Result<Self> {
        check_not_negative("least_change", least_change)?;
        Ok(Self {
            goal,
            patience,
            least_change,
            observations: 0,
            best: None,
            best_observation: 0,
        })
    }

    /// Takes notice of a metric, usually once an epoch.
    ///
    /// # Errors
    /// [`Error::Option`] if it is not a number; nothing is observed then.
    pub fn observe(&mut self, metric: f64) -> Result<Verdict> {
        if metric.is_nan() {
            return Err(Error::option("metric", "must be a number, is NaN"));
        }
        self.observations += 1;
        let better = self.best.is_none_or(|best| match self.goal {
            Goal::Minimize => metric < best - self.least_change,
            Goal::Maximize => metric > best + self.least_change,
        });
        if better {
            (self.best, self.best_observation) = (Some(metric), self.observations);
            return Ok(Verdict::Best);
        }
        match self.stops() {
            true => Ok(Verdict::Stop),
            false => Ok(Verdict::Worse),
        }
    }

    /// Whether patience is at an end.
    pub fn stops(&self) -> bool {
        self.patience > 0 && self.observations - self.best_observation >= self.patience
    }
}

/// A flag by which someone else asks the loop to end at the next step: a signal handler, another thread. Clones share it.
///
/// ```
/// use wgpu_rnn::train::Interrupt;
/// let interrupt = Interrupt::default();
/// let handler = interrupt.clone();
/// assert!(!interrupt.is_set());
/// handler.set(); // as a handler of Ctrl-C does
/// assert!(interrupt.is_set());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks for the end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone has.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for Interrupt {
    /// A flag that is there already.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_from_the_best() {
        for (goal, sign) in [(Goal::Minimize, 1.0), (Goal::Maximize, -1.0)] {
            let mut stopping = EarlyStopping::new(goal, 3, 0.1).unwrap();
            let mut verdicts = Vec::new();
            // The fourth is better by too little to count.
            for metric in [5.0, 4.0, 4.5, 3.95, 3.5, 3.6, 9.0, 3.45, 3.0] {
                verdicts.push(stopping.observe(sign * metric).unwrap());
            }
            use Verdict::{Best, Stop, Worse};
            let expected = [Best, Best, Worse, Worse, Best, Worse, Worse, Stop, Best];
            assert_eq!(verdicts, expected);
            assert_eq!(
                (stopping.best, stopping.best_observation),
                (Some(sign * 3.0), 9)
            );
        }
    }

    #[test]
    fn a_saved_one_goes_on() {
        let mut stopping = EarlyStopping::new(Goal::Minimize, 2, 0.0).unwrap();
        stopping.observe(1.0).unwrap();
        stopping.observe(2.0).unwrap();
        let json = serde_json::to_string(&stopping).unwrap();
        let mut other: EarlyStopping = serde_json::from_str(&json).unwrap();
        assert_eq!(other, stopping);
        assert_eq!(other.observe(1.5), Ok(Verdict::Stop));
        assert!(other.stops());
    }

    #[test]
    fn without_patience_it_goes_on_and_bad_numbers_are_refused() {
        let mut stopping = EarlyStopping::new(Goal::Minimize, 0, 0.0).unwrap();
        for _ in 0..100 {
            assert_ne!(stopping.observe(1.0), Ok(Verdict::Stop));
        }
        assert!(stopping.observe(f64::NAN).is_err());
        assert_eq!(stopping.observations, 100);
        assert!(EarlyStopping::new(Goal::Minimize, 1, -1.0).is_err());
    }
}
