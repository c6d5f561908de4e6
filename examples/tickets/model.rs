//! The forecaster as a program: embedding of the events, a recurrent network in both directions, its final states, a
//! linear head; and to train it the loss, the gradients and the optimizer's step.
//!
//! Gradients are cut every so many events (truncated backpropagation), in each direction; the forward reads whole tickets.
//! Chunks with carried states would contradict a network in two directions: the reverse one's state comes from the chunks
//! behind, which have not been computed yet.

use std::sync::Arc;

use wgpu_rnn::nn::{Dropout, Embedding, LastStates, Linear, linear_parameters};
use wgpu_rnn::ops::{BufferId, PointwiseLoss, PointwiseLossKind, Program, Region, Role, Section};
use wgpu_rnn::rnn::{Network, NetworkOptions};
use wgpu_rnn::train::TrainingPlaces;
use wgpu_rnn::{
    Device, DeviceBuffer, Direction, Initial, Packing, ParameterLayout, Parameters, Plan, Result,
    RnnConfig,
};

use crate::dataset::{FEATURES, RECORD};

/// What enters the recurrent network at a step: an event's embedding and its features.
const INPUTS: usize = 64;

/// The dropout that this program has of its own, behind those of the recurrent layers.
const HEAD_DROPOUT: u32 = 1000;

/// Sizes, and where each layer's parameters lie: the embedding's, the recurrent layers', the head's.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) config: RnnConfig,
    pub(crate) embedding: Embedding,
    pub(crate) head: Linear,
    rnn_len: usize,
    dropout: f32,
    /// Weight of tickets that escalated.
    pub(crate) positive_weight: f32,
    /// Events after which gradients are cut.
    pub(crate) truncation: Option<usize>,
}

/// What a model is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelOptions {
    /// Entries of the vocabulary.
    pub(crate) entries: usize,
    pub(crate) hidden: usize,
    pub(crate) dropout: f32,
    pub(crate) positive_weight: f32,
    pub(crate) truncation: Option<usize>,
}

/// Where a training program takes its batch from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs {
    /// `[tokens, RECORD]`, packed.
    pub(crate) records: BufferId,
    /// `[batch]`
    pub(crate) labels: BufferId,
}

/// A plan that forecasts one batch.
#[derive(Debug)]
pub(crate) struct Forecaster {
    plan: Box<dyn Plan>,
    records: BufferId,
    logits: BufferId,
    batch: usize,
}

/// The program's common part.
struct Forward {
    network: Network,
    records: BufferId,
    states: LastStates,
    dropout: Dropout,
    /// The final states after dropout.
    summary: BufferId,
    logits: BufferId,
}

impl Model {
    pub(crate) fn new(options: ModelOptions) -> Result<Self> {
        let embedding = Embedding::new(options.entries, INPUTS - FEATURES)?.features(FEATURES);
        let config = RnnConfig::gru(INPUTS, options.hidden)
            .layers(2)
            .direction(Direction::BidirectionalConcat)
            .dropout(wgpu_rnn::Dropout {
                between: options.dropout,
                ..wgpu_rnn::Dropout::default()
            })
            .build()?;
        Ok(Self {
            head: Linear::new(config.output_size(), 1)?,
            rnn_len: ParameterLayout::new(&config)?.len(),
            embedding,
            config,
            dropout: options.dropout,
            positive_weight: options.positive_weight,
            truncation: options.truncation,
        })
    }

    /// Elements of all parameters.
    pub(crate) fn len(&self) -> usize {
        self.head_at() + self.head.parameter_len()
    }

    /// Where the recurrent layers' parameters begin.
    pub(crate) fn rnn_at(&self) -> usize {
        self.embedding.parameter_len()
    }

    /// Where the head's parameters begin.
    pub(crate) fn head_at(&self) -> usize {
        self.rnn_at() + self.rnn_len
    }

    /// Initial parameters. The entry of unknown events is zeros, since nothing trains it; the head begins with the weighted
    /// odds of the training part.
    pub(crate) fn initial(&self, prevalence: f64, seed: u64) -> Result<Vec<f32>> {
        let mut parameters = self.embedding.parameters(seed);
        parameters[..INPUTS - FEATURES].fill(0.0);
        let rnn = Parameters::initial(&self.config, &Initial::default(), seed.wrapping_add(1))?;
        parameters.extend(rnn.data());
        parameters.extend(linear_parameters(&self.head, seed.wrapping_add(2)));
        let odds = f64::from(self.positive_weight) * prevalence / (1.0 - prevalence);
        if let Some(bias) = parameters.last_mut() {
            *bias = odds.ln() as f32;
        }
        Ok(parameters)
    }

    /// Elements of an event's embedding.
    pub(crate) fn embedding_width(&self) -> usize {
        INPUTS - FEATURES
    }

    /// What enters the recurrent network for a record: the reference's embedding.
    pub(crate) fn row(&self, parameters: &[f64], record: &[f32; RECORD]) -> Vec<f64> {
        let width = self.embedding_width();
        let entry = record[0] as usize * width;
        let features = record[1..].iter().map(|&feature| f64::from(feature));
        let embedding = parameters[entry..entry + width].iter().copied();
        embedding.chain(features).collect()
    }

    /// The probability of a logit. Training weighs escalations, which multiplies their odds; this divides them again.
    pub(crate) fn probability(&self, logit: f32) -> f32 {
        1.0 / (1.0 + (self.positive_weight.ln() - logit).exp())
    }

    /// A plan for batches packed like this one.
    pub(crate) fn forecaster(
        &self,
        device: &dyn Device,
        parameters: &DeviceBuffer,
        packing: &Arc<Packing>,
    ) -> Result<Forecaster> {
        let mut program = Program::new();
        let place = program.buffer("parameters", self.len(), Role::External);
        let options = NetworkOptions::on(device);
        let forward = self.push_forward(&mut program, packing, &options, (place.into(), None))?;
        let mut plan = device.load(program, &[(place, parameters.clone())])?;
        plan.run(Section::Prepare)?;
        Ok(Forecaster {
            plan,
            records: forward.records,
            logits: forward.logits,
            batch: packing.batch(),
        })
    }

    /// Everything from a batch to the gradients; returns the inputs and where the loss is.
    pub(crate) fn push_training(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        TrainingPlaces {
            options,
            parameters,
            gradients,
        }: TrainingPlaces,
    ) -> Result<(Inputs, Region)> {
        let options = NetworkOptions {
            truncation: self.truncation,
            ..options
        };
        let places = (parameters, Some(gradients));
        let forward = self.push_forward(program, packing, &options, places)?;
        let loss = self.push_loss(program, &forward, packing.batch());
        self.push_backward(program, &forward, (parameters, gradients), loss.gradient)?;
        let inputs = Inputs {
            records: forward.records,
            labels: loss.target.buffer,
        };
        Ok((inputs, loss.loss))
    }

    /// Everything up to the logits, with `parameters` and perhaps their gradients.
    fn push_forward(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        options: &NetworkOptions,
        (parameters, gradients): (Region, Option<Region>),
    ) -> Result<Forward> {
        let (tokens, sequences) = (packing.tokens(), packing.batch());
        let network = Network::new(
            program,
            &self.config,
            packing,
            options,
            parameters.at(self.rnn_at()),
            gradients.map(|gradients| gradients.at(self.rnn_at())),
        )?;
        let records = program.buffer("records", tokens * RECORD, Role::Input);
        let embedded = (records.into(), network.x.into());
        self.embedding
            .forward(program, tokens, parameters, embedded);
        network.forward(program)?;
        let states = LastStates::new(&network);
        let summary = program.buffer("summary", sequences * states.width(), Role::Activation);
        states.forward(program, summary.into());
        let dropout = (self.dropout, options.mode);
        let dropout = Dropout::of_sequences(program, dropout, HEAD_DROPOUT, sequences)?;
        dropout.forward(program, states.width(), (summary.into(), summary.into()));
        let logits = program.buffer("logits", sequences, Role::Output);
        let head = parameters.at(self.head_at());
        let places = (summary.into(), logits.into());
        self.head.forward(program, sequences, head, places);
        Ok(Forward {
            network,
            records,
            states,
            dropout,
            summary,
            logits,
        })
    }

    /// The loss, which says where the labels are written to and the logits' gradient is.
    fn push_loss(&self, program: &mut Program, forward: &Forward, rows: usize) -> PointwiseLoss {
        let target = program.buffer("labels", rows, Role::Input);
        let gradient = program.buffer("d_logits", rows, Role::Workspace);
        let loss = program.buffer("loss", 1, Role::Workspace);
        let positive_weight = self.positive_weight;
        let entropy = PointwiseLoss {
            kind: PointwiseLossKind::BinaryCrossEntropy { positive_weight },
            prediction: forward.logits.into(),
            target: target.into(),
            weights: None,
            gradient: gradient.into(),
            loss: loss.into(),
            rows,
            width: 1,
        };
        program.push(Section::Backward, entropy);
        entropy
    }

    /// From the logits' gradient to all parameters'.
    fn push_backward(
        &self,
        program: &mut Program,
        forward: &Forward,
        (parameters, gradients): (Region, Region),
        d_logits: Region,
    ) -> Result<()> {
        let packing = forward.network.packing();
        let (tokens, sequences) = (packing.tokens(), packing.batch());
        let width = forward.states.width();
        let d_summary = program.buffer("d_summary", sequences * width, Role::Workspace);
        let head = gradients.at(self.head_at());
        let places = (forward.summary.into(), d_logits);
        self.head
            .backward_parameters(program, sequences, head, places);
        let head = parameters.at(self.head_at());
        let places = (d_logits, d_summary.into());
        self.head.backward_input(program, sequences, head, places);
        let places = (d_summary.into(), d_summary.into());
        forward.dropout.backward(program, width, places);
        forward.states.backward(program, d_summary.into())?;
        forward.network.backward(program)?;
        if let Some(d_x) = forward.network.gradients.and_then(|gradients| gradients.x) {
            let places = (forward.records.into(), d_x.into());
            self.embedding.backward(program, tokens, gradients, places);
        }
        Ok(())
    }
}

impl Forecaster {
    /// The logits of a batch packed like the one that the plan was made for.
    pub(crate) fn logits(&mut self, records: &[f32]) -> Result<Vec<f32>> {
        self.plan.write(self.records, records)?;
        let mut logits = vec![0.0; self.batch];
        let read = &mut [(self.logits, logits.as_mut_slice())];
        self.plan.run_and_read(&[Section::Forward], read)?;
        Ok(logits)
    }
}
