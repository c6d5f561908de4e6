//! What computes: the reference in 64-bit floats, or a device.

use std::sync::Arc;

use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
#[cfg(feature = "gpu")]
use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
use wgpu_rnn::rnn::Rnn;
use wgpu_rnn::{
    Device, Gradients, Mode, Output, OutputGradient, PackedBatch, Packing, ParameterLayout,
    Parameters, Result, RnnConfig, State, reference,
};

/// The devices by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DeviceName {
    /// Plain loops in 64-bit floats.
    Reference,
    /// The CPU device.
    Cpu,
    /// The GPU device; WGPU_BACKEND and WGPU_ADAPTER_NAME choose the adapter.
    Gpu,
}

/// A device that runs networks.
#[derive(Debug)]
pub(crate) enum Engine {
    /// [`wgpu_rnn::reference`]
    Reference,
    /// [`Rnn`]
    Device(Arc<dyn Device>),
}

/// A network and what enters it.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) config: RnnConfig,
    /// Flat, in the order of the [`ParameterLayout`].
    pub(crate) parameters: Vec<f64>,
    pub(crate) packing: Arc<Packing>,
    /// Packed rows.
    pub(crate) x: Vec<f64>,
    pub(crate) initial: State<f64>,
}

impl Engine {
    pub(crate) fn open(name: DeviceName, instructions: Instructions) -> Result<Self> {
        let cpu = CpuOptions::new().instructions(instructions);
        Ok(match name {
            DeviceName::Reference => Self::Reference,
            DeviceName::Cpu => Self::Device(Arc::new(CpuDevice::with_options(&cpu)?)),
            DeviceName::Gpu => Self::Device(gpu()?),
        })
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Reference => "the reference, in 64-bit floats".to_owned(),
            Self::Device(device) => device.name(),
        }
    }

    /// Whether results are good to 64-bit floats.
    pub(crate) fn is_double(&self) -> bool {
        matches!(self, Self::Reference)
    }

    /// The outputs, and given a loss's gradient with respect to them, the gradients of everything.
    pub(crate) fn run(
        &self,
        network: &Network,
        loss: Option<&OutputGradient<f64>>,
    ) -> Result<(Output<f64>, Option<Gradients<f64>>)> {
        match self {
            Self::Reference => run_reference(network, loss),
            Self::Device(device) => run_device(device, network, loss),
        }
    }
}

#[cfg(feature = "gpu")]
fn gpu() -> Result<Arc<dyn Device>> {
    Ok(Arc::new(GpuDevice::request_blocking(
        &GpuOptions::default(),
    )?))
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Result<Arc<dyn Device>> {
    Err(wgpu_rnn::Error::State("built without the feature `gpu`"))
}

fn run_reference(
    network: &Network,
    loss: Option<&OutputGradient<f64>>,
) -> Result<(Output<f64>, Option<Gradients<f64>>)> {
    let (output, tape) = reference::forward(
        &network.config,
        &network.parameters,
        &network.packing,
        &network.x,
        Some(&network.initial),
        Mode::Evaluation,
        0,
    )?;
    let gradients = loss.map(|loss| reference::backward(&tape, loss));
    Ok((output, gradients.transpose()?))
}

fn run_device(
    device: &Arc<dyn Device>,
    network: &Network,
    loss: Option<&OutputGradient<f64>>,
) -> Result<(Output<f64>, Option<Gradients<f64>>)> {
    let layout = Arc::new(ParameterLayout::new(&network.config)?);
    let parameters = Parameters::from_flat(layout, narrow(&network.parameters))?;
    let features = network.config.input_size();
    let batch = PackedBatch::new(network.packing.clone(), features, narrow(&network.x))?;
    let initial = State {
        h: narrow(&network.initial.h),
        c: narrow(&network.initial.c),
    };
    let mut rnn = Rnn::new(device.clone(), network.config.clone(), &parameters)?;
    let Some(loss) = loss else {
        return Ok((widen_output(&rnn.infer(&batch, Some(&initial))?), None));
    };
    let output = rnn.forward(&batch, Some(&initial), Mode::Evaluation)?;
    let part = |values: &Option<Vec<f64>>| values.as_deref().map(narrow);
    let gradients = rnn.backward(&OutputGradient {
        y: part(&loss.y),
        h: part(&loss.h),
        c: part(&loss.c),
    })?;
    let gradients = Gradients {
        x: widen(&gradients.x),
        state: widen_state(&gradients.state),
        parameters: widen(&gradients.parameters),
    };
    Ok((widen_output(&output), Some(gradients)))
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn widen_state(state: &State) -> State<f64> {
    State {
        h: widen(&state.h),
        c: widen(&state.c),
    }
}

fn widen_output(output: &Output) -> Output<f64> {
    Output {
        y: widen(&output.y),
        state: widen_state(&output.state),
    }
}
