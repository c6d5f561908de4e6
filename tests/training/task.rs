//! A small task: the mean of a sequence's values, by a GRU with dropout and a linear head.

use std::cell::Cell;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use wgpu_rnn::checkpoint::Checkpoint;
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::nn::{Dropout, LastStates, Linear, linear_parameters};
use wgpu_rnn::ops::{BufferId, PointwiseLoss, PointwiseLossKind, Program, Region, Role, Section};
use wgpu_rnn::train::{Task, TrainingPlaces};
use wgpu_rnn::{
    Device, DeviceBuffer, Error, Network, NetworkOptions, Packing, ParameterLayout, Parameters,
    Plan, Result, RnnConfig,
};

/// Units of the network.
const HIDDEN: usize = 6;

#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) config: RnnConfig,
    head: Linear,
    sequences: Vec<Vec<f32>>,
    targets: Vec<f32>,
    dropout: f32,
    /// Sequences of a batch of the same length; none: batches by length.
    even: Option<usize>,
    /// How many programs were made.
    pub(crate) pushed: Cell<usize>,
}

#[derive(Debug)]
pub(crate) struct Inputs {
    packing: Arc<Packing>,
    x: BufferId,
    target: BufferId,
}

impl Means {
    /// Sequences of 1 to 9 values.
    pub(crate) fn ragged(count: usize, dropout: f32) -> Self {
        Self::new(count, dropout, None)
    }

    /// Sequences of 5 values, in batches of `each`.
    pub(crate) fn even(count: usize, each: usize) -> Self {
        Self::new(count, 0.0, Some(each))
    }

    fn new(count: usize, dropout: f32, even: Option<usize>) -> Self {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let sequences: Vec<Vec<f32>> = (0..count)
            .map(|n| {
                let len = if even.is_some() { 5 } else { 1 + n % 9 };
                (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
            })
            .collect();
        let mean = |values: &Vec<f32>| values.iter().sum::<f32>() / values.len() as f32;
        let between = wgpu_rnn::Dropout {
            between: dropout,
            ..wgpu_rnn::Dropout::default()
        };
        let config = RnnConfig::gru(1, HIDDEN).layers(2).dropout(between);
        Self {
            config: config.build().unwrap(),
            head: Linear::new(HIDDEN, 1).unwrap(),
            targets: sequences.iter().map(mean).collect(),
            sequences,
            dropout,
            even,
            pushed: Cell::new(0),
        }
    }

    /// The same with a target that is not a number.
    pub(crate) fn spoiled(mut self) -> Self {
        self.targets[1] = f32::NAN;
        self
    }

    fn rnn_len(&self) -> usize {
        ParameterLayout::new(&self.config).unwrap().len()
    }

    fn lengths(&self, samples: &[usize]) -> Vec<usize> {
        samples.iter().map(|&at| self.sequences[at].len()).collect()
    }

    fn push_forward(
        &self,
        program: &mut Program,
        packing: &Arc<Packing>,
        options: &NetworkOptions,
        (parameters, gradients): (Region, Option<Region>),
    ) -> Result<Forward> {
        let network = Network::new(
            program,
            &self.config,
            packing,
            options,
            parameters,
            gradients,
        )?;
        network.forward(program)?;
        let states = LastStates::new(&network);
        let batch = packing.batch();
        let summary = program.buffer("summary", batch * HIDDEN, Role::Activation);
        states.forward(program, summary.into());
        let dropout = Dropout::of_sequences(program, (self.dropout, options.mode), 100, batch)?;
        dropout.forward(program, HIDDEN, (summary.into(), summary.into()));
        let y = program.buffer("means", batch, Role::Output);
        let head = parameters.at(self.rnn_len());
        self.head
            .forward(program, batch, head, (summary.into(), y.into()));
        Ok(Forward {
            network,
            states,
            dropout,
            summary,
            y,
        })
    }

    /// The rows of a batch as packed.
    fn rows(&self, packing: &Packing, samples: &[usize]) -> Vec<f32> {
        let mut x = vec![0.0; packing.tokens()];
        for (sorted, &original) in packing.order().iter().enumerate() {
            for (time, &value) in self.sequences[samples[original]].iter().enumerate() {
                x[packing.row(time, sorted)] = value;
            }
        }
        x
    }
}

struct Forward {
    network: Network,
    states: LastStates,
    dropout: Dropout,
    summary: BufferId,
    y: BufferId,
}

impl Task for Means {
    type Shape = Arc<Packing>;
    type Inputs = Inputs;

    fn parameter_len(&self) -> usize {
        self.rnn_len() + self.head.parameter_len()
    }

    fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        let mut parameters = Parameters::uniform(&self.config, seed)?.data().to_vec();
        parameters.extend(linear_parameters(&self.head, seed + 1));
        Ok(parameters)
    }

    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let all: Vec<usize> = (0..self.sequences.len()).collect();
        if let Some(each) = self.even {
            return Ok(all.chunks(each).map(<[usize]>::to_vec).collect());
        }
        let options = BatchOptions {
            token_budget: 40,
            seed: 3,
            ..BatchOptions::default()
        };
        Ok(LengthBatches::new(&self.lengths(&all), options)?.epoch(epoch))
    }

    fn shape(&self, samples: &[usize]) -> Result<Arc<Packing>> {
        Ok(Arc::new(Packing::new(&self.lengths(samples))?))
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
        self.pushed.set(self.pushed.get() + 1);
        let TrainingPlaces {
            options,
            parameters,
            gradients,
        } = places;
        let flat = (parameters, Some(gradients));
        let forward = self.push_forward(program, packing, &options, flat)?;
        let batch = packing.batch();
        let target = program.buffer("targets", batch, Role::Input);
        let d_y = program.buffer("d_means", batch, Role::Workspace);
        let loss = program.buffer("loss", 1, Role::Workspace);
        let squared = PointwiseLoss {
            kind: PointwiseLossKind::Squared,
            prediction: forward.y.into(),
            target: target.into(),
            weights: None,
            gradient: d_y.into(),
            loss: loss.into(),
            rows: batch,
            width: 1,
        };
        program.push(Section::Backward, squared);
        let d_summary = program.buffer("d_summary", batch * HIDDEN, Role::Workspace);
        let [weights, d_weights] = [parameters, gradients].map(|all| all.at(self.rnn_len()));
        let head = &self.head;
        head.backward_parameters(
            program,
            batch,
            d_weights,
            (forward.summary.into(), d_y.into()),
        );
        head.backward_input(program, batch, weights, (d_y.into(), d_summary.into()));
        let both = (d_summary.into(), d_summary.into());
        forward.dropout.backward(program, HIDDEN, both);
        forward.states.backward(program, d_summary.into())?;
        forward.network.backward(program)?;
        let inputs = Inputs {
            packing: packing.clone(),
            x: forward.network.x,
            target,
        };
        Ok((inputs, loss.into()))
    }

    fn write(&self, plan: &mut dyn Plan, inputs: &Inputs, samples: &[usize]) -> Result<()> {
        plan.write(inputs.x, &self.rows(&inputs.packing, samples))?;
        let targets: Vec<f32> = samples.iter().map(|&at| self.targets[at]).collect();
        plan.write(inputs.target, &targets)
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["RMSE", "bias"]
    }

    fn evaluate(&self, device: &dyn Device, parameters: &DeviceBuffer) -> Result<Vec<f64>> {
        let samples: Vec<usize> = (0..self.sequences.len()).collect();
        let packing = self.shape(&samples)?;
        let mut program = Program::new();
        let place = program.buffer("parameters", self.parameter_len(), Role::External);
        let forward = self.push_forward(
            &mut program,
            &packing,
            &NetworkOptions::on(device),
            (place.into(), None),
        )?;
        let mut plan = device.load(program, &[(place, parameters.clone())])?;
        plan.write(forward.network.x, &self.rows(&packing, &samples))?;
        let mut means = vec![0.0; samples.len()];
        let read = &mut [(forward.y, means.as_mut_slice())];
        plan.run_and_read(&[Section::Prepare, Section::Forward], read)?;
        let errors = || {
            let pairs = means.iter().zip(&self.targets);
            let finite = pairs.filter(|(_, target)| target.is_finite());
            finite.map(|(mean, target)| f64::from(mean - target))
        };
        let count = errors().count() as f64;
        let square = errors().map(|error| error * error).sum::<f64>() / count;
        Ok(vec![square.sqrt(), errors().sum::<f64>() / count])
    }

    fn checkpoint(&self, parameters: &[f32]) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new(self.config.clone());
        let tensors = &mut checkpoint.parameters;
        tensors.insert("all", vec![parameters.len()], parameters.to_vec())?;
        Ok(checkpoint)
    }

    fn restore(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>> {
        checkpoint.expect_config(&self.config)?;
        let all = checkpoint.parameters.get("all");
        let missing = || Error::Checkpoint("tensor `all` is missing".to_owned());
        Ok(all.ok_or_else(missing)?.data().to_vec())
    }
}
