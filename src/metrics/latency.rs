//! How long answers take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Percentiles of measured times by nearest rank: the least measured time that the share does not exceed. Each is a time
/// that was measured, none is interpolated.
///
/// ```
/// use std::time::Duration;
/// use wgpu_rnn::metrics::Latency;
///
/// let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
/// let latency = Latency::new(&times)?;
/// assert_eq!(latency.p95, Duration::from_millis(190));
/// assert_eq!(latency.max, Duration::from_millis(200));
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Number of times.
    pub count: usize,
    /// Half of them are within it.
    pub p50: Duration,
    /// 95 of 100 are within it.
    pub p95: Duration,
    /// 99 of 100 are within it.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Latency {
    /// Summarises `times`, in any order.
    ///
    /// # Errors
    /// [`Error::Data`] if there are none.
    pub fn new(times: &[Duration]) -> Result<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let Some(&max) = sorted.last() else {
            return Err(Error::data("latency", "at least one time", "none"));
        };
        // Rank ceil(n * percent / 100), counted from 1.
        let percentile = |percent: u128| {
            let rank = (sorted.len() as u128 * percent).div_ceil(100);
            sorted[rank as usize - 1]
        };
        Ok(Self {
            count: sorted.len(),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max,
        })
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:.3?}, p95 {:.3?}, p99 {:.3?}, max {:.3?} over {} runs",
            self.p50, self.p95, self.p99, self.max, self.count
        )
    }
}
