//! The network as a program: recurrent layers, a linear head on the last layer's final state, and to train it the loss
//! and the gradients.

use std::sync::Arc;

use wgpu_rnn::nn::{Linear, linear_parameters};
use wgpu_rnn::ops::{BufferId, MeanSquaredError, Program, Region, Role, Section};
use wgpu_rnn::rnn::{Network, NetworkOptions};
use wgpu_rnn::train::TrainingPlaces;
use wgpu_rnn::{
    Device, DeviceBuffer, Error, Packing, ParameterLayout, Parameters, Plan, Result, RnnConfig,
};

/// Sizes of a forecasting network.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) config: RnnConfig,
    pub(crate) head: Linear,
    pub(crate) window: usize,
    /// Parameters of the recurrent layers; the head's follow.
    pub(crate) rnn_len: usize,
}

/// A plan that forecasts `batch` windows at once.
#[derive(Debug)]
pub(crate) struct Forecaster {
    plan: Box<dyn Plan>,
    x: BufferId,
    prediction: BufferId,
    pub(crate) batch: usize,
    outputs: usize,
}

/// Where a training program takes its windows from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs {
    /// `[window, batch, inputs]`
    pub(crate) x: BufferId,
    /// `[batch, horizon]`
    pub(crate) target: BufferId,
}

impl Model {
    pub(crate) fn new(config: RnnConfig, window: usize, horizon: usize) -> Result<Self> {
        Ok(Self {
            head: Linear::new(config.output_size(), horizon)?,
            rnn_len: ParameterLayout::new(&config)?.len(),
            config,
            window,
        })
    }

    /// Elements of all parameters.
    pub(crate) fn len(&self) -> usize {
        self.rnn_len + self.head.parameter_len()
    }

    /// PyTorch's default initial weights.
    pub(crate) fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        let mut parameters = Parameters::uniform(&self.config, seed)?.data().to_vec();
        parameters.extend(linear_parameters(&self.head, seed.wrapping_add(1)));
        Ok(parameters)
    }

    /// A buffer with these parameters.
    pub(crate) fn weights(&self, device: &dyn Device, parameters: &[f32]) -> Result<DeviceBuffer> {
        let weights = device.buffer("parameters", self.len())?;
        device.write(&weights, 0, parameters)?;
        Ok(weights)
    }

    pub(crate) fn forecaster(
        &self,
        device: &dyn Device,
        parameters: &DeviceBuffer,
        batch: usize,
    ) -> Result<Forecaster> {
        let mut program = Program::new();
        let place = program.buffer("parameters", self.len(), Role::External);
        let options = NetworkOptions::on(device);
        let (network, prediction) =
            self.push_forward(&mut program, batch, &options, (place.into(), None))?;
        Ok(Forecaster {
            x: network.x,
            prediction,
            batch,
            outputs: self.head.outputs(),
            plan: device.load(program, &[(place, parameters.clone())])?,
        })
    }

    /// Everything from a batch of windows to the gradients; returns the inputs and where the loss is.
    pub(crate) fn push_training(
        &self,
        program: &mut Program,
        batch: usize,
        TrainingPlaces {
            options,
            parameters,
            gradients,
        }: TrainingPlaces,
    ) -> Result<(Inputs, Region)> {
        let options = NetworkOptions {
            input_gradient: false,
            ..options
        };
        let (network, prediction) =
            self.push_forward(program, batch, &options, (parameters, Some(gradients)))?;
        let outputs = batch * self.head.outputs();
        let target = program.buffer("target", outputs, Role::Input);
        let d_prediction = program.buffer("d_prediction", outputs, Role::Workspace);
        let loss = program.buffer("loss", 1, Role::Workspace);
        let error = MeanSquaredError {
            prediction: prediction.into(),
            target: target.into(),
            gradient: d_prediction.into(),
            loss: loss.into(),
            len: outputs,
        };
        program.push(Section::Backward, error);
        let state = network.last_hidden(0);
        let no_gradient = Error::State("the network was made without a backward section");
        let d_state = network.last_hidden_gradient(0).ok_or(no_gradient)?;
        let head_gradients = gradients.at(self.rnn_len);
        let of_head = (state, d_prediction.into());
        self.head
            .backward_parameters(program, batch, head_gradients, of_head);
        let head = parameters.at(self.rnn_len);
        let of_state = (d_prediction.into(), d_state);
        self.head.backward_input(program, batch, head, of_state);
        network.backward(program)?;
        let inputs = Inputs {
            x: network.x,
            target,
        };
        Ok((inputs, loss.into()))
    }

    /// The recurrent layers over `batch` windows and the head on what the last layer ends with.
    fn push_forward(
        &self,
        program: &mut Program,
        batch: usize,
        options: &NetworkOptions,
        (parameters, gradients): (Region, Option<Region>),
    ) -> Result<(Network, BufferId)> {
        let packing = Arc::new(Packing::dense(self.window, batch)?);
        let network = Network::new(
            program,
            &self.config,
            &packing,
            options,
            parameters,
            gradients,
        )?;
        network.forward(program)?;
        let prediction = program.buffer("prediction", batch * self.head.outputs(), Role::Output);
        let head = parameters.at(self.rnn_len);
        let places = (network.last_hidden(0), prediction.into());
        self.head.forward(program, batch, head, places);
        Ok((network, prediction))
    }
}

impl Forecaster {
    /// Brings the kernels' copy of the weights up to date.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.plan.run(Section::Prepare)
    }

    /// `x` as `[window, batch, inputs]` to `[batch, horizon]`.
    pub(crate) fn forecast(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        self.plan.write(self.x, x)?;
        self.plan.run(Section::Forward)?;
        let mut prediction = vec![0.0; self.batch * self.outputs];
        self.plan.read(self.prediction, &mut prediction)?;
        Ok(prediction)
    }

    /// Bytes on the device, parameters left out.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.bytes()
    }
}
