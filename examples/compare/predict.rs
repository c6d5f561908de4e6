//! Predictions, and how long one takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::Latency;
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::rnn::NetworkOptions;
use wgpu_rnn::{Device, DeviceBuffer, Packing, Plan, Result};

use crate::model::{Model, Places};
use crate::problem::{Batch, Part, Problem};

/// Timesteps of a batch of predictions.
const TOKENS: usize = 16_384;
/// Rounds of timed predictions.
const ROUNDS: usize = 5;
/// Predictions of a round that are timed, and those before them that are not.
const RUNS: usize = 200;
const WARM_UP: usize = 20;

/// A plan for batches of one packing.
#[derive(Debug)]
struct Predictor {
    packing: Arc<Packing>,
    plan: Box<dyn Plan>,
    places: Places,
    len: usize,
}

impl Predictor {
    fn new(
        (model, device, parameters): (&Model, &dyn Device, &DeviceBuffer),
        packing: &Arc<Packing>,
    ) -> Result<Self> {
        let mut program = Program::new();
        let place = program.buffer("parameters", model.len(), Role::External);
        let options = NetworkOptions::on(device);
        let places = model.push_prediction(&mut program, packing, (&options, place.into()))?;
        let mut plan = device.load(program, &[(place, parameters.clone())])?;
        plan.run(Section::Prepare)?;
        Ok(Self {
            packing: packing.clone(),
            plan,
            places,
            len: packing.batch() * model.head.outputs(),
        })
    }

    fn run(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        self.plan.write(self.places.records, &batch.records)?;
        let mut prediction = vec![0.0; self.len];
        let read = &mut [(self.places.prediction, prediction.as_mut_slice())];
        self.plan.run_and_read(&[Section::Forward], read)?;
        Ok(prediction)
    }
}

/// The predictions for `samples`, `[samples, outputs]`, in batches of like lengths.
pub(crate) fn predict<P: Problem>(
    problem: &P,
    trained: (&Model, &dyn Device, &DeviceBuffer),
    samples: &[usize],
) -> Result<Vec<f32>> {
    let options = BatchOptions {
        token_budget: TOKENS,
        ..BatchOptions::default()
    };
    let outputs = trained.0.head.outputs();
    let mut predictions = vec![0.0; samples.len() * outputs];
    let mut predictor: Option<Predictor> = None;
    for places in LengthBatches::new(&problem.lengths(samples), options)?.epoch(0) {
        let chosen: Vec<usize> = places.iter().map(|&place| samples[place]).collect();
        let batch = problem.batch(&chosen)?;
        let fits = predictor
            .take()
            .filter(|other| other.packing == batch.packing);
        let mut fitting = match fits {
            Some(fitting) => fitting,
            None => Predictor::new(trained, &batch.packing)?,
        };
        let rows = fitting.run(&batch)?;
        for (place, row) in places.into_iter().zip(rows.chunks_exact(outputs)) {
            predictions[place * outputs..][..outputs].copy_from_slice(row);
        }
        predictor = Some(fitting);
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
    pub(crate) fn new<P: Problem>(problem: &P, model: &Model, parameters: &[f32]) -> Result<Self> {
        // As a service has a core for a prediction.
        let device = &CpuDevice::with_threads(1)?;
        let buffer = upload(device, parameters)?;
        let sample = long_sample(problem);
        let batch = problem.batch(&[sample])?;
        Ok(Self {
            predictor: Predictor::new((model, device, &buffer), &batch.packing)?,
            sample,
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

/// A buffer that holds `parameters`.
pub(crate) fn upload(device: &dyn Device, parameters: &[f32]) -> Result<DeviceBuffer> {
    let buffer = device.buffer("parameters", parameters.len())?;
    device.write(&buffer, 0, parameters)?;
    Ok(buffer)
}
