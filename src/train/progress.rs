//! How far training has come: share, speed, remaining time. Time comes from the caller, so nothing here reads a clock.

use std::time::Duration;

/// How much an observation of the speed weighs against those before it.
const WEIGHT: f64 = 0.1;

/// Counts steps and tokens of a run whose number of steps is known, and says how long the rest will take: at a speed that
/// follows what it was lately.
///
/// ```
/// use std::time::Duration;
/// use wgpu_rnn::train::Progress;
/// let mut progress = Progress::new(10);
/// for _ in 0..5 {
///     progress.step(64, Duration::from_secs(2));
/// }
/// assert_eq!(progress.share(), 0.5);
/// assert_eq!(progress.tokens_per_second(), Some(32.0));
/// assert_eq!(progress.remaining(), Some(Duration::from_secs(10)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    total: u64,
    steps: u64,
    tokens: u64,
    elapsed: Duration,
    /// Seconds of a step and tokens of one, as they were lately.
    lately: Option<[f64; 2]>,
}

impl Progress {
    /// Before the first of `total` steps.
    pub fn new(total: u64) -> Self {
        Self::resumed(total, 0)
    }

    /// With some steps done by an earlier run, of whose speed nothing is known.
    pub fn resumed(total: u64, steps: u64) -> Self {
        Self {
            total,
            steps,
            tokens: 0,
            elapsed: Duration::ZERO,
            lately: None,
        }
    }

    /// Counts a step of so many tokens that took so long.
    pub fn step(&mut self, tokens: u64, took: Duration) {
        self.steps += 1;
        self.tokens += tokens;
        self.elapsed += took;
        let now = [took.as_secs_f64(), tokens as f64];
        self.lately = Some(match self.lately {
            None => now,
            Some(before) => {
                [0, 1].map(|index| before[index] + WEIGHT * (now[index] - before[index]))
            }
        });
    }

    /// Counts time that no step took, such as that of a validation.
    pub fn pause(&mut self, took: Duration) {
        self.elapsed += took;
    }

    /// Steps done, those of an earlier run included.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// All steps.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Tokens of this run.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Time of this run, pauses included.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Share of the steps that is done, from 0 to 1.
    pub fn share(&self) -> f64 {
        match self.total {
            0 => 1.0,
            total => (self.steps as f64 / total as f64).min(1.0),
        }
    }

    /// Tokens a second, lately; `None` before the first step or without a clock that moves.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let [seconds, tokens] = self.lately?;
        (seconds > 0.0).then(|| tokens / seconds)
    }

    /// Time that the remaining steps will take; `None` before the first step.
    pub fn remaining(&self) -> Option<Duration> {
        let [seconds, _] = self.lately?;
        let rest = self.total.saturating_sub(self.steps);
        Duration::try_from_secs_f64(seconds * rest as f64).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_follows_what_it_was_lately() {
        let mut progress = Progress::new(1_000);
        assert_eq!(
            (progress.remaining(), progress.tokens_per_second()),
            (None, None)
        );
        progress.step(10, Duration::from_secs(100));
        for _ in 0..200 {
            progress.step(10, Duration::from_secs(1));
        }
        let remaining = progress.remaining().unwrap().as_secs_f64();
        assert!((remaining - 799.0).abs() < 0.01, "{remaining}");
        assert_eq!((progress.steps(), progress.tokens()), (201, 2_010));
        progress.pause(Duration::from_secs(7));
        assert_eq!(progress.elapsed(), Duration::from_secs(307));
        assert_eq!(progress.share(), 0.201);
    }

    #[test]
    fn ends_and_odd_sizes() {
        assert_eq!(Progress::new(0).share(), 1.0);
        let mut progress = Progress::resumed(4, 3);
        assert_eq!((progress.share(), progress.remaining()), (0.75, None));
        progress.step(5, Duration::ZERO);
        progress.step(5, Duration::ZERO);
        assert_eq!(progress.share(), 1.0);
        assert_eq!(progress.remaining(), Some(Duration::ZERO));
        assert_eq!(progress.tokens_per_second(), None);
    }
}
