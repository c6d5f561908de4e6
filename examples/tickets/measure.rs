//! What a forecast costs and how exact it is: latency, memory, difference from the reference.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgpu_rnn::metrics::Latency;
use wgpu_rnn::model::{Model, ModelParameters, ModelPlaces, Predictor, Wanted};
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::{Device, GradientMode, Mode, NetworkOptions, Result};

use crate::dataset::Encoder;
use crate::generator::Ticket;
use crate::task::batch;

/// Forecasts that are timed, after as many as a tenth that are not.
const RUNS: usize = 500;

/// The time of one forecast of `ticket`, encoding included.
pub(crate) fn latency(
    predictor: &mut Predictor,
    encoder: &Encoder,
    ticket: &Ticket,
) -> Result<Latency> {
    let mut times: Vec<Duration> = Vec::with_capacity(RUNS);
    for run in 0..RUNS + RUNS / 10 {
        let start = Instant::now();
        predictor.run(&batch(encoder, &[ticket])?)?;
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
    device: &Arc<dyn Device>,
    parameters: &ModelParameters,
    (encoder, batches): (&Encoder, &[Vec<&Ticket>]),
) -> Result<Training> {
    let len = model.layout().len();
    let weights = device.buffer("parameters", len)?;
    device.write(&weights, 0, parameters.data())?;
    let gradients = device.buffer("gradients", len)?;
    let options = NetworkOptions {
        mode: Mode::Training,
        gradients: Some(GradientMode::Save),
        ..NetworkOptions::on(device.as_ref())
    };
    let mut cost = Training {
        rate: f64::NAN,
        bytes: 0,
    };
    let (mut start, mut events) = (Instant::now(), 0);
    for (nth, tickets) in batches.iter().enumerate() {
        let batch = batch(encoder, tickets)?;
        let shape = model.shape_of(&batch)?;
        let mut program = Program::new();
        let mut external = |label| program.buffer(label, len, Role::External);
        let bound = [
            (external("parameters"), weights.clone()),
            (external("gradients"), gradients.clone()),
        ];
        let places = ModelPlaces {
            parameters: bound[0].0.into(),
            gradients: Some(bound[1].0.into()),
        };
        let wanted = Wanted::default();
        let pushed = model.push(&mut program, &shape, &options, places, wanted)?;
        let mut plan = device.load(program, &bound)?;
        for input in &pushed.inputs {
            plan.write(input.buffer, batch.get(&input.name).unwrap_or_default())?;
        }
        plan.run_all(&[Section::Prepare, Section::Forward, Section::Backward])?;
        cost.bytes = cost.bytes.max(plan.bytes());
        if nth == 0 {
            // The first compiles what the others find.
            device.read(&gradients, 0..1)?;
            start = Instant::now();
        } else {
            events += shape.tokens();
        }
    }
    // The read waits for all of them.
    device.read(&gradients, 0..1)?;
    cost.rate = events as f64 / start.elapsed().as_secs_f64();
    Ok(cost)
}

/// The logits of `tickets` by the reference in double precision: plain loops from the embedding to the head.
pub(crate) fn reference_logits(
    model: &Model,
    parameters: &ModelParameters,
    encoder: &Encoder,
    tickets: &[&Ticket],
) -> Result<Vec<f64>> {
    model.reference(parameters, &batch(encoder, tickets)?, "logit")
}
