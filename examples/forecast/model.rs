//! The network as a program: recurrent layers, a linear head on the last layer's final state, and to train it the loss,
//! the gradients and the optimizer's step.

use std::sync::Arc;

use wgpu_rnn::nn::{Linear, linear_parameters};
use wgpu_rnn::ops::{
    BufferId, Elementwise, ElementwiseKind, MeanSquaredError, Program, Region, Role, Section,
};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::train::{Optimizer, OptimizerBuffers, OptimizerRegions};
use wgpu_rnn::{
    Device, DeviceBuffer, Error, Mode, Packing, ParameterLayout, Parameters, Plan, Result,
    RnnConfig,
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

/// A plan that takes training steps on `batch` windows.
#[derive(Debug)]
pub(crate) struct Trainer {
    plan: Box<dyn Plan>,
    x: BufferId,
    target: BufferId,
    loss_sum: BufferId,
    optimizer: OptimizerBuffers,
    pub(crate) batch: usize,
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
            self.push_forward(&mut program, batch, &options, place, None)?;
        Ok(Forecaster {
            x: network.x,
            prediction,
            batch,
            outputs: self.head.outputs(),
            plan: device.load(program, &[(place, parameters.clone())])?,
        })
    }

    pub(crate) fn trainer(
        &self,
        device: &dyn Device,
        (weights, optimizer): (&DeviceBuffer, &Optimizer),
        batch: usize,
    ) -> Result<Trainer> {
        let mut program = Program::new();
        let mut external = |label, len| program.buffer(label, len, Role::External);
        let parameters = external("parameters", self.len());
        let gradients = external("gradients", self.len());
        let optimizer_state = external("optimizer state", optimizer.state_len());
        let options = NetworkOptions {
            mode: Mode::Training,
            gradients: Some(GradientMode::Save),
            input_gradient: false,
            ..NetworkOptions::on(device)
        };
        let (network, prediction) = self.push_forward(
            &mut program,
            batch,
            &options,
            parameters,
            Some(gradients.into()),
        )?;

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
        let head_gradients = Region::from(gradients).at(self.rnn_len);
        let of_head = (state, d_prediction.into());
        self.head
            .backward_parameters(&mut program, batch, head_gradients, of_head);
        let head = Region::from(parameters).at(self.rnn_len);
        let of_state = (d_prediction.into(), d_state);
        self.head
            .backward_input(&mut program, batch, head, of_state);
        network.backward(&mut program)?;

        let regions = OptimizerRegions {
            parameters: parameters.into(),
            gradients: gradients.into(),
            state: optimizer_state.into(),
        };
        let buffers = optimizer.push(&mut program, regions);
        // The losses of an epoch add up on the device: one read an epoch instead of one a step.
        let loss_sum = program.buffer("loss sum", 1, Role::Output);
        let add = Elementwise {
            kind: ElementwiseKind::Accumulate,
            a: loss.into(),
            b: loss.into(),
            target: loss_sum.into(),
            len: 1,
        };
        program.push(Section::Update, add);
        let bound = [
            (parameters, weights.clone()),
            (gradients, device.buffer("gradients", self.len())?),
            (optimizer_state, optimizer.new_state(device)?),
        ];
        Ok(Trainer {
            x: network.x,
            target,
            loss_sum,
            optimizer: buffers,
            batch,
            plan: device.load(program, &bound)?,
        })
    }

    /// The recurrent layers over `batch` windows and the head on what the last layer ends with.
    fn push_forward(
        &self,
        program: &mut Program,
        batch: usize,
        options: &NetworkOptions,
        parameters: BufferId,
        gradients: Option<Region>,
    ) -> Result<(Network, BufferId)> {
        let packing = Arc::new(Packing::dense(self.window, batch)?);
        let network = Network::new(
            program,
            &self.config,
            &packing,
            options,
            parameters.into(),
            gradients,
        )?;
        network.forward(program)?;
        let prediction = program.buffer("prediction", batch * self.head.outputs(), Role::Output);
        let head = Region::from(parameters).at(self.rnn_len);
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

impl Trainer {
    /// One step on the device; nothing is read back.
    pub(crate) fn step(&mut self, x: &[f32], target: &[f32], settings: &[f32]) -> Result<()> {
        self.plan.write(self.x, x)?;
        self.plan.write(self.target, target)?;
        self.plan.write(self.optimizer.settings, settings)?;
        for section in Section::ALL {
            self.plan.run(section)?;
        }
        Ok(())
    }

    /// The sum of the losses since the last call.
    pub(crate) fn take_loss_sum(&mut self) -> Result<f32> {
        let mut sum = [0.0];
        self.plan.read(self.loss_sum, &mut sum)?;
        self.plan.write(self.loss_sum, &[0.0])?;
        Ok(sum[0])
    }

    /// Bytes on the device, external buffers left out.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.bytes()
    }
}
