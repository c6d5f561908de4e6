//! What a forecast costs and how exact it is: latency, memory, difference from the reference.

use std::time::{Duration, Instant};

use wgpu_rnn::metrics::Latency;
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::train::TrainingPlaces;
use wgpu_rnn::{Device, DeviceBuffer, GradientMode, Mode, NetworkOptions, Result, reference};

use crate::dataset::{Encoder, RECORD};
use crate::generator::Ticket;
use crate::model::Model;

/// Forecasts that are timed, after as many as a tenth that are not.
const RUNS: usize = 500;

/// The time of one forecast of `ticket`, encoding included, on `device`.
pub(crate) fn latency(
    model: &Model,
    device: &dyn Device,
    parameters: &[f32],
    (encoder, ticket): (&Encoder, &Ticket),
) -> Result<Latency> {
    let buffer = upload(device, parameters)?;
    let batch = encoder.batch(&[ticket])?;
    let mut forecaster = model.forecaster(device, &buffer, &batch.packing)?;
    let mut times: Vec<Duration> = Vec::with_capacity(RUNS);
    for run in 0..RUNS + RUNS / 10 {
        let start = Instant::now();
        let batch = encoder.batch(&[ticket])?;
        forecaster.logits(&batch.records)?;
        if run >= RUNS / 10 {
            times.push(start.elapsed());
        }
    }
    Latency::new(&times)
}

/// What training steps cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    /// Events a second, forward and backward.
    pub(crate) rate: f64,
    /// Bytes of the largest plan.
    pub(crate) bytes: u64,
}

/// The cost of the gradients of `batches`, loading included, on `device`.
pub(crate) fn training(
    model: &Model,
    device: &dyn Device,
    parameters: &[f32],
    (encoder, batches): (&Encoder, &[Vec<&Ticket>]),
) -> Result<Training> {
    let weights = upload(device, parameters)?;
    let gradients = device.buffer("gradients", parameters.len())?;
    let mut cost = Training {
        rate: f64::NAN,
        bytes: 0,
    };
    let (mut start, mut events) = (Instant::now(), 0);
    for (nth, tickets) in batches.iter().enumerate() {
        let batch = encoder.batch(tickets)?;
        let mut program = Program::new();
        let mut external = |label| program.buffer(label, parameters.len(), Role::External);
        let bound = [
            (external("parameters"), weights.clone()),
            (external("gradients"), gradients.clone()),
        ];
        let places = TrainingPlaces {
            options: NetworkOptions {
                mode: Mode::Training,
                gradients: Some(GradientMode::Save),
                ..NetworkOptions::on(device)
            },
            parameters: bound[0].0.into(),
            gradients: bound[1].0.into(),
        };
        let (inputs, _) = model.push_training(&mut program, &batch.packing, places)?;
        let mut plan = device.load(program, &bound)?;
        plan.write(inputs.records, &batch.records)?;
        plan.write(inputs.labels, &batch.labels)?;
        plan.run_all(&[Section::Prepare, Section::Forward, Section::Backward])?;
        cost.bytes = cost.bytes.max(plan.bytes());
        if nth == 0 {
            // The first compiles what the others find.
            device.read(&gradients, 0..1)?;
            start = Instant::now();
        } else {
            events += batch.packing.tokens();
        }
    }
    // The read waits for all of them.
    device.read(&gradients, 0..1)?;
    cost.rate = events as f64 / start.elapsed().as_secs_f64();
    Ok(cost)
}

/// A buffer that holds `parameters`.
pub(crate) fn upload(device: &dyn Device, parameters: &[f32]) -> Result<DeviceBuffer> {
    let buffer = device.buffer("parameters", parameters.len())?;
    device.write(&buffer, 0, parameters)?;
    Ok(buffer)
}

/// The logits of `tickets` by the reference in double precision: plain loops from the embedding to the head.
pub(crate) fn reference_logits(
    model: &Model,
    parameters: &[f32],
    encoder: &Encoder,
    tickets: &[&Ticket],
) -> Result<Vec<f64>> {
    let batch = encoder.batch(tickets)?;
    let parameters: Vec<f64> = parameters.iter().map(|&value| value.into()).collect();
    let (records, _) = batch.records.as_chunks::<RECORD>();
    let x: Vec<f64> = { records.iter() }
        .flat_map(|record| model.row(&parameters, record))
        .collect();
    let rnn = &parameters[model.rnn_at()..model.head_at()];
    let packing = &batch.packing;
    let (output, _) =
        reference::forward(&model.config, rnn, packing, &x, None, Mode::Evaluation, 0)?;
    // The last layer's two directions, `[2, batch, state]`.
    let (state, sequences) = (model.config.state_size(), packing.batch());
    let h = &output.state.h;
    let last = &h[h.len() - 2 * sequences * state..];
    let head = &parameters[model.head_at()..];
    let logits = (0..sequences).map(|sequence| {
        let directions = [0, 1].map(|direction| (direction * sequences + sequence) * state);
        let states = directions.iter().flat_map(|&at| &last[at..at + state]);
        let terms = states.zip(head).map(|(h, weight)| h * weight);
        terms.sum::<f64>() + head[2 * state]
    });
    Ok(logits.collect())
}

/// The largest resident set of the process in bytes, where the system tells (Linux).
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
