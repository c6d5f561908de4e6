//! The forecaster's data as the trainer's task: batches of like lengths, judged by the validation part's AUC, saved with their
//! vocabulary and scaler.

use serde::{Deserialize, Serialize};
use wgpu_rnn::checkpoint::{Checkpoint, ModelCard};
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::BinaryScores;
use wgpu_rnn::model::{Batch, Predictor};
use wgpu_rnn::train::{
    Clipping, Goal, OptimizerOptions, ScheduleShape, Task, TrainerOptions, WarmUp,
};
use wgpu_rnn::{Error, PackedBatch, Result};

use crate::dataset::{Dataset, Encoder, RECORD, labels};
use crate::generator::Ticket;
use crate::options::TrainingOptions;

/// Events of a batch of forecasts.
const FORECAST_TOKENS: usize = 4096;

/// Share of the first epoch in which the rate rises.
const WARM_UP: f64 = 0.5;

/// The feature that is numbered, and those that are scaled.
const EVENT: &str = "event";
const SCALARS: &str = "scalars";

/// The checkpoint's section of [`Fixed`].
const OPTIONS: &str = "options";

/// What is trained on.
#[derive(Debug)]
pub(crate) struct Forecasting<'a> {
    encoder: &'a Encoder,
    training: Vec<&'a Ticket>,
    validation: Vec<&'a Ticket>,
    batches: LengthBatches,
    fixed: Fixed,
}

/// What has to be the same when training goes on, apart from what the trainer checks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Fixed {
    token_budget: usize,
}

impl<'a> Forecasting<'a> {
    pub(crate) fn new(data: &'a Dataset, options: &TrainingOptions) -> Result<Self> {
        let training = data.part(data.split.training());
        let batches = LengthBatches::new(
            &lengths(&training),
            BatchOptions {
                token_budget: options.token_budget,
                seed: options.seed,
                ..BatchOptions::default()
            },
        )?;
        Ok(Self {
            encoder: &data.encoder,
            validation: data.part(data.split.validation()),
            fixed: Fixed {
                token_budget: options.token_budget,
            },
            training,
            batches,
        })
    }

    /// Adam with clipping at norm 1, and a rate that rises in the first half epoch and falls along a half cosine.
    pub(crate) fn options(&self, options: &TrainingOptions) -> TrainerOptions {
        let per_epoch = self.batches.epoch(0).len() as u64;
        let warm_up = (WARM_UP * per_epoch as f64).ceil() as u64;
        TrainerOptions {
            optimizer: OptimizerOptions {
                clipping: Some(Clipping::Norm(1.0)),
                ..OptimizerOptions::adam(options.learning_rate)
            },
            schedule: ScheduleShape::Cosine {
                steps: (per_epoch * options.epochs).saturating_sub(warm_up).max(1),
                minimum: 0.01 * options.learning_rate,
            },
            warm_up: WarmUp {
                steps: warm_up,
                first: 0.05,
            },
            epochs: options.epochs,
            patience: options.patience,
            seed: options.seed,
            goal: Goal::Maximize,
            ..TrainerOptions::default()
        }
    }
}

impl Task for Forecasting<'_> {
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        Ok(self.batches.epoch(epoch))
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        let tickets: Vec<&Ticket> = samples.iter().map(|&at| self.training[at]).collect();
        batch(self.encoder, &tickets)
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["validation AUC"]
    }

    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>> {
        let logits = forecast(predictor, self.encoder, &self.validation)?;
        let scores = BinaryScores::new(&labels(&self.validation), &logits)?;
        Ok(vec![scores.auc()?])
    }

    fn complete(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        let vocabularies = &mut checkpoint.vocabularies;
        vocabularies.insert(EVENT.to_owned(), self.encoder.vocabulary.clone());
        let scalers = &mut checkpoint.scalers;
        scalers.insert(SCALARS.to_owned(), self.encoder.scaler.clone());
        checkpoint.card = ModelCard {
            name: "ticket escalation forecaster, in training".to_owned(),
            ..ModelCard::default()
        };
        checkpoint.set_section(OPTIONS, &self.fixed)
    }

    fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.expect_vocabulary(EVENT, &self.encoder.vocabulary)?;
        if checkpoint.scaler(SCALARS)? != &self.encoder.scaler {
            return Err(Error::Checkpoint(
                "its scaler was fitted to other tickets: give the same --tickets and --seed"
                    .to_owned(),
            ));
        }
        let fixed: Fixed = checkpoint.section(OPTIONS)?;
        match fixed == self.fixed {
            true => Ok(()),
            false => Err(Error::Checkpoint(format!(
                "expected training with {:?}, got {fixed:?}",
                self.fixed
            ))),
        }
    }
}

/// Tickets as the model takes them.
pub(crate) fn batch(encoder: &Encoder, tickets: &[&Ticket]) -> Result<Batch> {
    let batch = encoder.batch(tickets)?;
    let records = PackedBatch::new(batch.packing, RECORD, batch.records)?;
    Ok(Batch::new()
        .packed("records", records)
        .rows("label", batch.labels))
}

fn lengths(tickets: &[&Ticket]) -> Vec<usize> {
    tickets.iter().map(|ticket| ticket.steps.len()).collect()
}

/// The logit of each ticket, in batches of like lengths.
pub(crate) fn forecast(
    predictor: &mut Predictor,
    encoder: &Encoder,
    tickets: &[&Ticket],
) -> Result<Vec<f32>> {
    let options = BatchOptions {
        token_budget: FORECAST_TOKENS,
        ..BatchOptions::default()
    };
    let mut logits = vec![0.0; tickets.len()];
    for places in LengthBatches::new(&lengths(tickets), options)?.epoch(0) {
        let chosen: Vec<&Ticket> = places.iter().map(|&at| tickets[at]).collect();
        let outputs = predictor.run(&batch(encoder, &chosen)?)?;
        for (place, logit) in places.into_iter().zip(outputs.get("logit")?) {
            logits[place] = *logit;
        }
    }
    Ok(logits)
}

/// The probability of a logit. Training weighs escalations, which multiplies their odds; this divides them again.
pub(crate) fn probability(logit: f32, positive_weight: f32) -> f32 {
    1.0 / (1.0 + (positive_weight.ln() - logit).exp())
}
