//! Timing.

use std::time::Instant;

use wgpu_rnn::Result;

/// Seconds of each call, sorted.
#[derive(Debug, Clone)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    /// Times `call` after two calls that are not counted, for about `budget` seconds and at least three times.
    pub(crate) fn of(budget: f64, mut call: impl FnMut() -> Result<()>) -> Result<Self> {
        let [times] = Self::alternating(budget, [&mut call])?;
        Ok(times)
    }

    /// Likewise several calls, in turns: what disturbs one of them disturbs the others as much.
    pub(crate) fn alternating<const CALLS: usize>(
        budget: f64,
        mut calls: [&mut dyn FnMut() -> Result<()>; CALLS],
    ) -> Result<[Self; CALLS]> {
        const MOST: usize = 20_000;
        for call in &mut calls {
            call()?;
            call()?;
        }
        let (start, mut times) = (Instant::now(), [const { Vec::new() }; CALLS]);
        let mut rounds = 0;
        while rounds < 3 || (start.elapsed().as_secs_f64() < budget && rounds < MOST) {
            for (call, times) in calls.iter_mut().zip(&mut times) {
                let before = Instant::now();
                call()?;
                times.push(before.elapsed().as_secs_f64());
            }
            rounds += 1;
        }
        Ok(times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            Self(times)
        }))
    }

    /// Calls.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Seconds that a share of the calls does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.0.len() - 1) as f64;
        let low = at as usize;
        let high = (low + 1).min(self.0.len() - 1);
        self.0[low] + (self.0[high] - self.0[low]) * (at - low as f64)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_calls() {
        let times = Times(vec![1.0, 2.0, 4.0]);
        assert_eq!(
            [0.0, 0.25, 0.5, 1.0].map(|share| times.quantile(share)),
            [1.0, 1.5, 2.0, 4.0]
        );
    }
}
