//! Predictions, and how long one takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgpu_rnn::Result;
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::Latency;
use wgpu_rnn::model::{Model, ModelParameters, Predictor};

use crate::problem::{PREDICTION, Part, Problem};

/// Timesteps of a batch of predictions.
const TOKENS: usize = 16_384;
/// Rounds of timed predictions.
const ROUNDS: usize = 5;
/// Predictions of a round that are timed, and those before them that are not.
const RUNS: usize = 200;
const WARM_UP: usize = 20;

/// The predictions for `samples`, `[samples, outputs]`, in batches of like lengths.
pub(crate) fn predict<P: Problem>(
    problem: &P,
    predictor: &mut Predictor,
    samples: &[usize],
) -> Result<Vec<f32>> {
    let options = BatchOptions {
        token_budget: TOKENS,
        ..BatchOptions::default()
    };
    let outputs = problem.ends().outputs;
    let mut predictions = vec![0.0; samples.len() * outputs];
    for places in LengthBatches::new(&problem.lengths(samples), options)?.epoch(0) {
        let chosen: Vec<usize> = places.iter().map(|&place| samples[place]).collect();
        let made = predictor.run(&problem.batch(&chosen)?)?;
        let rows = made.get(PREDICTION)?.chunks_exact(outputs);
        for (place, row) in places.into_iter().zip(rows) {
            predictions[place * outputs..][..outputs].copy_from_slice(row);
        }
    }
    Ok(predictions)
}

/// Times one prediction of a network, from a sample to its prediction: of the hold-out's sample that 95 of 100 are not longer
/// than.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    predictor: Predictor,
    sample: usize,
    times: Vec<Duration>,
}

impl Stopwatch {
    pub(crate) fn new<P: Problem>(
        problem: &P,
        model: &Model,
        parameters: &ModelParameters,
    ) -> Result<Self> {
        // As a service has a core for a prediction.
        let device = Arc::new(CpuDevice::with_threads(1)?);
        Ok(Self {
            predictor: Predictor::new(device, model, parameters)?,
            sample: long_sample(problem),
            times: Vec::with_capacity(ROUNDS * RUNS),
        })
    }

    /// Predicts some times, at first without looking at the time.
    fn round<P: Problem>(&mut self, problem: &P) -> Result<()> {
        for run in 0..RUNS + WARM_UP {
            let start = Instant::now();
            self.predictor.run(&problem.batch(&[self.sample])?)?;
            if run >= WARM_UP {
                self.times.push(start.elapsed());
            }
        }
        Ok(())
    }
}

/// How long one prediction of each network takes on one thread. The networks take turns, so that what else the machine is busy
/// with meets all.
pub(crate) fn latencies<P: Problem>(
    problem: &P,
    mut networks: Vec<Stopwatch>,
) -> Result<Vec<Latency>> {
    for _ in 0..ROUNDS {
        for network in &mut networks {
            network.round(problem)?;
        }
    }
    networks
        .iter()
        .map(|network| Latency::new(&network.times))
        .collect()
}

/// The sample at the 95th percentile of the hold-out's lengths.
pub(crate) fn long_sample<P: Problem>(problem: &P) -> usize {
    let samples = problem.part(Part::HoldOut);
    let lengths = problem.lengths(samples);
    let mut sorted: Vec<(usize, usize)> =
        lengths.into_iter().zip(samples.iter().copied()).collect();
    sorted.sort_unstable();
    sorted[(sorted.len() * 95 / 100).min(sorted.len() - 1)].1
}
