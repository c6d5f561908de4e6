//! The forecaster as the trainer's task: batches of like lengths, judged by the validation part's AUC, saved with its
//! vocabulary and scaler.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wgpu_rnn::checkpoint::{Checkpoint, ModelCard, Tensors};
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::BinaryScores;
use wgpu_rnn::ops::{Program, Region};
use wgpu_rnn::train::{
    Clipping, Optimizer, OptimizerOptions, Schedule, ScheduleShape, Task, TrainingPlaces, WarmUp,
};
use wgpu_rnn::{Device, DeviceBuffer, Error, Packing, ParameterLayout, Parameters, Plan, Result};

use crate::dataset::{Dataset, Encoder, labels};
use crate::generator::Ticket;
use crate::model::{Inputs, Model};
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

/// What is trained on what.
#[derive(Debug)]
pub(crate) struct Forecasting<'a> {
    pub(crate) model: &'a Model,
    pub(crate) encoder: &'a Encoder,
    training: Vec<&'a Ticket>,
    validation: Vec<&'a Ticket>,
    batches: LengthBatches,
    fixed: Fixed,
}

/// What has to be the same when training goes on, apart from what the trainer and the model check.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Fixed {
    token_budget: usize,
    positive_weight: f32,
    truncation: Option<usize>,
}

impl<'a> Forecasting<'a> {
    pub(crate) fn new(
        model: &'a Model,
        data: &'a Dataset,
        options: &TrainingOptions,
    ) -> Result<Self> {
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
            validation: data.part(data.split.validation()),
            fixed: Fixed {
                token_budget: options.token_budget,
                positive_weight: model.positive_weight,
                truncation: model.truncation,
            },
            encoder: &data.encoder,
            model,
            training,
            batches,
        })
    }

    /// Adam with clipping at norm 1, and a rate that rises in the first half epoch and falls along a half cosine.
    pub(crate) fn optimizer(&self, options: &TrainingOptions) -> Result<(Optimizer, Schedule)> {
        let per_epoch = self.batches.epoch(0).len() as u64;
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
        let schedule = Schedule::new(options.learning_rate, shape, rise)?;
        Ok((Optimizer::new(self.model.len(), adam)?, schedule))
    }
}

impl Task for Forecasting<'_> {
    type Shape = Arc<Packing>;
    type Inputs = Inputs;

    fn parameter_len(&self) -> usize {
        self.model.len()
    }

    fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        let labels = labels(&self.training);
        let prevalence = f64::from(labels.iter().sum::<f32>()) / labels.len() as f64;
        if prevalence == 0.0 {
            return Err(Error::State(
                "no ticket of the training part escalated: make up more",
            ));
        }
        self.model.initial(prevalence, seed)
    }

    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        Ok(self.batches.epoch(epoch))
    }

    fn shape(&self, samples: &[usize]) -> Result<Arc<Packing>> {
        let lengths = samples.iter().map(|&at| self.training[at].steps.len());
        Ok(Arc::new(Packing::new(&lengths.collect::<Vec<_>>())?))
    }

    fn tokens(&self, packing: &Arc<Packing>) -> usize {
        packing.tokens()
    }

    fn push(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        places: TrainingPlaces,
    ) -> Result<(Inputs, Region)> {
        self.model.push_training(program, packing, places)
    }

    fn write(&self, plan: &mut dyn Plan, inputs: &Inputs, samples: &[usize]) -> Result<()> {
        let tickets: Vec<&Ticket> = samples.iter().map(|&at| self.training[at]).collect();
        let batch = self.encoder.batch(&tickets)?;
        plan.write(inputs.records, &batch.records)?;
        plan.write(inputs.labels, &batch.labels)
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["validation AUC"]
    }

    fn evaluate(&self, device: &dyn Device, parameters: &DeviceBuffer) -> Result<Vec<f64>> {
        let what = (parameters, self.encoder);
        let logits = forecast(self.model, device, what, &self.validation)?;
        let scores = BinaryScores::new(&labels(&self.validation), &logits)?;
        Ok(vec![scores.auc()?])
    }

    fn checkpoint(&self, parameters: &[f32]) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new(self.model.config.clone());
        checkpoint.parameters = tensors(self.model, parameters)?;
        let vocabularies = &mut checkpoint.vocabularies;
        vocabularies.insert(EVENT.to_owned(), self.encoder.vocabulary.clone());
        let scalers = &mut checkpoint.scalers;
        scalers.insert(SCALARS.to_owned(), self.encoder.scaler.clone());
        checkpoint.set_section(OPTIONS, &self.fixed)?;
        checkpoint.card = ModelCard {
            name: "ticket escalation forecaster, in training".to_owned(),
            ..ModelCard::default()
        };
        Ok(checkpoint)
    }

    fn restore(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>> {
        checkpoint.expect_config(&self.model.config)?;
        checkpoint.expect_vocabulary(EVENT, &self.encoder.vocabulary)?;
        if checkpoint.scaler(SCALARS)? != &self.encoder.scaler {
            return Err(Error::Checkpoint(
                "its scaler was fitted to other tickets: give the same --tickets and --seed"
                    .to_owned(),
            ));
        }
        let fixed: Fixed = checkpoint.section(OPTIONS)?;
        if fixed != self.fixed {
            let text = format!("expected training with {:?}, got {fixed:?}", self.fixed);
            return Err(Error::Checkpoint(text));
        }
        let tensor = |name: &str| match checkpoint.parameters.get(name) {
            Some(tensor) => Ok(tensor.data()),
            None => Err(Error::Checkpoint(format!("tensor `{name}` is missing"))),
        };
        let rnn = checkpoint.parameters.network("rnn.", &self.model.config)?;
        let parts = [
            tensor("embedding.weight")?,
            rnn.data(),
            tensor("head.weight")?,
            tensor("head.bias")?,
        ];
        Ok(parts.concat())
    }
}

/// The flat parameters by name.
fn tensors(model: &Model, parameters: &[f32]) -> Result<Tensors> {
    let (embedding, rest) = parameters.split_at(model.rnn_at());
    let (rnn, head) = rest.split_at(model.head_at() - model.rnn_at());
    let (weight, bias) = head.split_at(model.head.inputs());
    let layout = ParameterLayout::new(&model.config)?.into();
    let mut tensors = Tensors::default();
    let entries = embedding.len() / model.embedding_width();
    let shape = vec![entries, model.embedding_width()];
    tensors.insert("embedding.weight", shape, embedding.to_vec())?;
    tensors.insert_network("rnn.", &Parameters::from_flat(layout, rnn.to_vec())?)?;
    tensors.insert("head.weight", vec![1, weight.len()], weight.to_vec())?;
    tensors.insert("head.bias", vec![bias.len()], bias.to_vec())?;
    Ok(tensors)
}

fn lengths(tickets: &[&Ticket]) -> Vec<usize> {
    tickets.iter().map(|ticket| ticket.steps.len()).collect()
}

/// The logit of each ticket, in batches of like lengths.
pub(crate) fn forecast(
    model: &Model,
    device: &dyn Device,
    (parameters, encoder): (&DeviceBuffer, &Encoder),
    tickets: &[&Ticket],
) -> Result<Vec<f32>> {
    let options = BatchOptions {
        token_budget: FORECAST_TOKENS,
        ..BatchOptions::default()
    };
    let mut logits = vec![0.0; tickets.len()];
    for places in LengthBatches::new(&lengths(tickets), options)?.epoch(0) {
        let chosen: Vec<&Ticket> = places.iter().map(|&at| tickets[at]).collect();
        let batch = encoder.batch(&chosen)?;
        let mut forecaster = model.forecaster(device, parameters, &batch.packing)?;
        for (place, logit) in places.into_iter().zip(forecaster.logits(&batch.records)?) {
            logits[place] = logit;
        }
    }
    Ok(logits)
}
