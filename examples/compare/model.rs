//! Any of the networks on any of the problems as a program: perhaps an embedding, the recurrent layers, their final states,
//! dropout, a linear head; and to train it the loss and the gradients.

use std::sync::Arc;

use wgpu_rnn::nn::{Dropout, Embedding, LastStates, Linear, linear_parameters};
use wgpu_rnn::ops::{BufferId, PointwiseLoss, Program, Region, Role, Section};
use wgpu_rnn::rnn::{Network, NetworkOptions};
use wgpu_rnn::train::TrainingPlaces;
use wgpu_rnn::{Initial, Packing, ParameterLayout, Parameters, Result, RnnConfig};

use crate::choice::Choice;
use crate::gates::remember;
use crate::problem::Ends;

/// The dropout that this program has of its own, behind those of the recurrent layers.
const HEAD_DROPOUT: u32 = 1000;

/// Sizes, and where each layer's parameters lie: the embedding's, the recurrent layers', the head's.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) config: RnnConfig,
    pub(crate) embedding: Option<Embedding>,
    pub(crate) head: Linear,
    ends: Ends,
    rnn_len: usize,
    dropout: f32,
}

/// Where a program takes its batch from, and what it makes of it.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) records: BufferId,
    pub(crate) prediction: BufferId,
    /// Of a program that trains.
    pub(crate) target: Option<BufferId>,
}

/// The program's common part.
struct Forward {
    network: Network,
    places: Places,
    states: LastStates,
    dropout: Dropout,
    /// The final states after dropout.
    summary: BufferId,
}

impl Model {
    /// The network `choice` for a problem with these ends.
    pub(crate) fn new(choice: &Choice, ends: Ends) -> Result<Self> {
        let embedding = match ends.table {
            Some([entries, width]) => Some(Embedding::new(entries, width)?.features(ends.features)),
            None => None,
        };
        let inputs = embedding.as_ref().map_or(ends.features, Embedding::outputs);
        let config = choice.config(inputs)?;
        Ok(Self {
            head: Linear::new(config.directions() * config.state_size(), ends.outputs)?,
            rnn_len: ParameterLayout::new(&config)?.len(),
            dropout: choice.head_dropout(),
            config,
            embedding,
            ends,
        })
    }

    /// Elements of all parameters.
    pub(crate) fn len(&self) -> usize {
        self.head_at() + self.head.parameter_len()
    }

    /// Where the recurrent layers' parameters begin.
    pub(crate) fn rnn_at(&self) -> usize {
        let embedding = self.embedding.as_ref();
        embedding.map_or(0, Embedding::parameter_len)
    }

    /// Where the head's parameters begin.
    pub(crate) fn head_at(&self) -> usize {
        self.rnn_at() + self.rnn_len
    }

    /// Initial parameters: orthogonal recurrent weights, Glorot's input weights, a forget gate's bias of 1.
    pub(crate) fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        let mut parameters = Vec::with_capacity(self.len());
        if let (Some(embedding), Some([_, width])) = (&self.embedding, self.ends.table) {
            parameters.extend(embedding.parameters(seed));
            // The entry of what is unknown: nothing trains it.
            parameters[..width].fill(0.0);
        }
        let mut rnn = Parameters::initial(&self.config, &Initial::default(), seed.wrapping_add(1))?;
        if let Some(steps) = self.ends.memory {
            remember(&mut rnn, &self.config, (steps, seed.wrapping_add(3)));
        }
        parameters.extend(rnn.data());
        parameters.extend(linear_parameters(&self.head, seed.wrapping_add(2)));
        if let Some(bias) = self.ends.bias {
            let len = parameters.len();
            parameters[len - self.ends.outputs..].fill(bias);
        }
        Ok(parameters)
    }

    /// Pushes what predicts a batch.
    pub(crate) fn push_prediction(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        (options, parameters): (&NetworkOptions, Region),
    ) -> Result<Places> {
        Ok(self
            .push_forward(program, packing, (options, parameters, None))?
            .places)
    }

    /// Pushes what trains a batch; also returns where the loss is.
    pub(crate) fn push_training(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        training: TrainingPlaces,
    ) -> Result<(Places, Region)> {
        let options = NetworkOptions {
            input_gradient: self.embedding.is_some(),
            ..training.options
        };
        let buffers = (&options, training.parameters, Some(training.gradients));
        let mut forward = self.push_forward(program, packing, buffers)?;
        let rows = packing.batch();
        let len = rows * self.ends.outputs;
        let target = program.buffer("target", len, Role::Input);
        let gradient = program.buffer("d_prediction", len, Role::Workspace);
        let loss = program.buffer("loss", 1, Role::Workspace);
        let of_batch = PointwiseLoss {
            kind: self.ends.loss,
            prediction: forward.places.prediction.into(),
            target: target.into(),
            weights: None,
            gradient: gradient.into(),
            loss: loss.into(),
            rows,
            width: self.ends.outputs,
        };
        program.push(Section::Backward, of_batch);
        self.push_backward(program, &forward, training, gradient)?;
        forward.places.target = Some(target);
        Ok((forward.places, loss.into()))
    }

    fn push_forward(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        (options, parameters, gradients): (&NetworkOptions, Region, Option<Region>),
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
        let records = match &self.embedding {
            None => network.x,
            Some(embedding) => {
                let len = tokens * embedding.record_width();
                let records = program.buffer("records", len, Role::Input);
                let places = (records.into(), network.x.into());
                embedding.forward(program, tokens, parameters, places);
                records
            }
        };
        network.forward(program)?;
        let states = LastStates::new(&network);
        let summary = program.buffer("summary", sequences * states.width(), Role::Activation);
        states.forward(program, summary.into());
        let dropout = (self.dropout, options.mode);
        let dropout = Dropout::of_sequences(program, dropout, HEAD_DROPOUT, sequences)?;
        dropout.forward(program, states.width(), (summary.into(), summary.into()));
        let len = sequences * self.ends.outputs;
        let prediction = program.buffer("prediction", len, Role::Output);
        let head = parameters.at(self.head_at());
        let rows = (summary.into(), prediction.into());
        self.head.forward(program, sequences, head, rows);
        let places = Places {
            records,
            prediction,
            target: None,
        };
        Ok(Forward {
            network,
            places,
            states,
            dropout,
            summary,
        })
    }

    /// From the prediction's gradient to all parameters'.
    fn push_backward(
        &self,
        program: &mut Program,
        forward: &Forward,
        training: TrainingPlaces,
        d_prediction: BufferId,
    ) -> Result<()> {
        let packing = forward.network.packing();
        let (tokens, sequences) = (packing.tokens(), packing.batch());
        let width = forward.states.width();
        let d_summary = program.buffer("d_summary", sequences * width, Role::Workspace);
        let gradients = training.gradients.at(self.head_at());
        let rows = (forward.summary.into(), d_prediction.into());
        self.head
            .backward_parameters(program, sequences, gradients, rows);
        let parameters = training.parameters.at(self.head_at());
        let rows = (d_prediction.into(), d_summary.into());
        self.head
            .backward_input(program, sequences, parameters, rows);
        let in_place = (d_summary.into(), d_summary.into());
        forward.dropout.backward(program, width, in_place);
        forward.states.backward(program, d_summary.into())?;
        forward.network.backward(program)?;
        let d_x = forward.network.gradients.and_then(|gradients| gradients.x);
        if let (Some(embedding), Some(d_x)) = (&self.embedding, d_x) {
            let rows = (forward.places.records.into(), d_x.into());
            embedding.backward(program, tokens, training.gradients, rows);
        }
        Ok(())
    }
}
