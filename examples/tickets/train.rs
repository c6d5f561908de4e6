//! The training loop: batches of like lengths, a rate that warms up and falls, early stopping on the validation part's AUC,
//! and a state from which it goes on where it was interrupted.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::BinaryScores;
use wgpu_rnn::train::{
    Clipping, EarlyStopping, Goal, Interrupt, Optimizer, OptimizerOptions, Schedule, ScheduleShape,
    Verdict, WarmUp,
};
use wgpu_rnn::{Device, Error, Result};

use crate::dataset::{Dataset, Encoder, labels};
use crate::generator::Ticket;
use crate::model::{Model, Weights};
use crate::progress::Progress;

/// Events of a batch of forecasts.
const FORECAST_TOKENS: usize = 4096;

/// Share of the first epoch in which the rate rises.
const WARM_UP: f64 = 0.5;

/// What the user chooses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainingOptions {
    pub(crate) epochs: u64,
    /// Epochs without a better AUC after which it stops.
    pub(crate) patience: u64,
    pub(crate) learning_rate: f64,
    /// Most events of a batch.
    pub(crate) token_budget: usize,
    pub(crate) seed: u64,
}

/// An epoch, as it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    pub(crate) loss: f64,
    pub(crate) validation_auc: f64,
}

/// Where training stands; with the parameters and the optimizer's state it goes on from here bit for bit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Whole epochs, and batches of the next one.
    pub(crate) epoch: u64,
    pub(crate) batch: u64,
    /// Steps of the optimizer.
    pub(crate) step: u64,
    /// Sum of the current epoch's losses up to now.
    loss_sum: f64,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) seconds: f64,
    /// Events that were trained on.
    pub(crate) tokens: u64,
    /// Largest plan.
    pub(crate) bytes: u64,
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Interrupted,
}

/// A model in training.
#[derive(Debug)]
pub(crate) struct Training<'a> {
    pub(crate) device: &'a dyn Device,
    pub(crate) model: &'a Model,
    data: &'a Dataset,
    pub(crate) options: TrainingOptions,
    pub(crate) weights: Weights,
    pub(crate) optimizer: Optimizer,
    pub(crate) schedule: Schedule,
    pub(crate) stopping: EarlyStopping,
    batches: LengthBatches,
    pub(crate) standing: Standing,
    interrupt: Interrupt,
}

impl<'a> Training<'a> {
    /// Before the first step, unless a checkpoint's state is put in.
    pub(crate) fn new(
        device: &'a dyn Device,
        model: &'a Model,
        data: &'a Dataset,
        options: TrainingOptions,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let training = data.part(data.split.training());
        let lengths: Vec<usize> = training.iter().map(|ticket| ticket.steps.len()).collect();
        let batches = LengthBatches::new(
            &lengths,
            BatchOptions {
                token_budget: options.token_budget,
                seed: options.seed,
                ..BatchOptions::default()
            },
        )?;
        let per_epoch = batches.epoch(0).len() as u64;
        let warm_up = (WARM_UP * per_epoch as f64).ceil() as u64;
        let shape = ScheduleShape::Cosine {
            steps: (per_epoch * options.epochs).saturating_sub(warm_up).max(1),
            minimum: 0.01 * options.learning_rate,
        };
        let rise = WarmUp {
            steps: warm_up,
            first: 0.05,
        };
        let mut adam = OptimizerOptions::adam(options.learning_rate);
        adam.clipping = Some(Clipping::Norm(1.0));
        let optimizer = Optimizer::new(model.len(), adam)?;
        let labels = labels(&training);
        let prevalence = f64::from(labels.iter().sum::<f32>()) / labels.len() as f64;
        if prevalence == 0.0 {
            return Err(Error::State(
                "no ticket of the training part escalated: make up more",
            ));
        }
        let initial = model.initial(prevalence, options.seed)?;
        Ok(Self {
            weights: model.weights(device, &initial, &optimizer)?,
            schedule: Schedule::new(options.learning_rate, shape, rise)?,
            stopping: EarlyStopping::new(Goal::Maximize, options.patience, 0.0)?,
            standing: Standing::default(),
            device,
            model,
            data,
            options,
            optimizer,
            batches,
            interrupt,
        })
    }

    /// Trains on. `save` is called after each epoch, with whether it was the best one so far, and on an interrupt.
    pub(crate) fn run(&mut self, mut save: impl FnMut(&Self, bool) -> Result<()>) -> Result<End> {
        let training = self.data.part(self.data.split.training());
        let mut progress = Progress::new(self.batches.epoch(0).len() as u64 * self.options.epochs);
        while self.standing.epoch < self.options.epochs && !self.stopping.stops() {
            let batches = self.batches.epoch(self.standing.epoch);
            let start = Instant::now();
            while let Some(batch) = batches.get(self.standing.batch as usize) {
                if self.interrupt.is_set() {
                    self.pause(start)?;
                    save(self, false)?;
                    progress.finish();
                    return Ok(End::Interrupted);
                }
                let tickets: Vec<&Ticket> = batch.iter().map(|&at| training[at]).collect();
                let tokens = self.step(&tickets)?;
                progress.step(self.standing.step, tokens);
            }
            self.pause(start)?;
            let best = self.end_epoch(batches.len())?;
            progress.epoch(
                self.standing.epoch,
                self.options.epochs,
                &self.standing.epochs,
            );
            save(self, best)?;
        }
        progress.finish();
        Ok(End::Finished)
    }

    /// One step; returns its events.
    fn step(&mut self, tickets: &[&Ticket]) -> Result<u64> {
        let batch = self.data.encoder.batch(tickets)?;
        let rate = self.schedule.learning_rate();
        self.optimizer.set_learning_rate(rate)?;
        let seed = self.options.seed.wrapping_add(self.standing.step << 20);
        let how = (&self.optimizer, seed);
        let bytes = self.model.step(self.device, &self.weights, &batch, how)?;
        self.schedule.step();
        let standing = &mut self.standing;
        standing.step += 1;
        standing.batch += 1;
        standing.bytes = standing.bytes.max(bytes);
        let tokens = batch.packing.tokens() as u64;
        standing.tokens += tokens;
        Ok(tokens)
    }

    /// Takes the time and the losses up to now into the standing.
    fn pause(&mut self, start: Instant) -> Result<()> {
        // The read waits for all steps.
        self.standing.loss_sum += f64::from(self.weights.take_loss_sum(self.device)?);
        self.standing.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Validates; returns whether it was the best epoch.
    fn end_epoch(&mut self, batches: usize) -> Result<bool> {
        let loss = self.standing.loss_sum / batches as f64;
        if !loss.is_finite() {
            return Err(Error::NonFinite {
                step: self.standing.step,
            });
        }
        let validation = self.data.part(self.data.split.validation());
        let logits = self.forecast(&validation)?;
        let validation_auc = BinaryScores::new(&labels(&validation), &logits)?.auc()?;
        let standing = &mut self.standing;
        standing.epochs.push(Epoch {
            loss,
            validation_auc,
        });
        (standing.epoch, standing.batch) = (standing.epoch + 1, 0);
        standing.loss_sum = 0.0;
        Ok(self.stopping.observe(validation_auc)? == Verdict::Best)
    }

    fn forecast(&self, tickets: &[&Ticket]) -> Result<Vec<f32>> {
        let parameters = &self.weights.parameters;
        let encoder = &self.data.encoder;
        forecast(self.model, self.device, (parameters, encoder), tickets)
    }
}

/// The logit of each ticket, in batches of like lengths.
pub(crate) fn forecast(
    model: &Model,
    device: &dyn Device,
    (parameters, encoder): (&wgpu_rnn::DeviceBuffer, &Encoder),
    tickets: &[&Ticket],
) -> Result<Vec<f32>> {
    let lengths: Vec<usize> = tickets.iter().map(|ticket| ticket.steps.len()).collect();
    let options = BatchOptions {
        token_budget: FORECAST_TOKENS,
        ..BatchOptions::default()
    };
    let mut logits = vec![0.0; tickets.len()];
    for places in LengthBatches::new(&lengths, options)?.epoch(0) {
        let chosen: Vec<&Ticket> = places.iter().map(|&at| tickets[at]).collect();
        let batch = encoder.batch(&chosen)?;
        let mut forecaster = model.forecaster(device, parameters, &batch)?;
        for (place, logit) in places.into_iter().zip(forecaster.logits(&batch.records)?) {
            logits[place] = logit;
        }
    }
    Ok(logits)
}
