//! A workload on a device: the network planned once, inputs made from a seed.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::ops::{Program, Region, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::{
    Device, DeviceBuffer, Error, Mode, PackedBatch, Packing, Parameters, Plan, Precision, Result,
    RnnConfig,
};

use crate::definition::Workload;
use crate::selection::Selection;

/// What a workload computes with.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) config: RnnConfig,
    /// Uniform in `1 / sqrt(hidden)`.
    pub(crate) parameters: Parameters,
    /// Standard normal, sequence by sequence.
    pub(crate) x: Vec<Vec<f32>>,
    /// Gradients of the outputs, likewise.
    pub(crate) d_y: Vec<Vec<f32>>,
    /// How weights and activations are stored.
    pub(crate) storage: Precision,
    /// See [`NetworkOptions::wavefront`].
    pub(crate) wavefront: Option<usize>,
}

impl Data {
    pub(crate) fn new(workload: &Workload) -> Result<Self> {
        let config = workload.config()?;
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut normal = |width: usize| -> Vec<Vec<f32>> {
            let mut sequence = |length: usize| {
                (0..length * width)
                    .map(|_| standard_normal(&mut random))
                    .collect()
            };
            workload
                .lengths
                .iter()
                .map(|&length| sequence(length))
                .collect()
        };
        let (x, d_y) = (normal(config.input_size()), normal(config.output_size()));
        Ok(Self {
            parameters: Parameters::uniform(&config, 1)?,
            config,
            x,
            d_y,
            storage: Precision::F32,
            wavefront: None,
        })
    }

    /// The same, weights and activations stored, and stacks gone through, as the selection says.
    pub(crate) fn selected(self, selection: &Selection) -> Self {
        Self {
            storage: selection.storage(),
            wavefront: selection.wavefront,
            ..self
        }
    }
}

/// Box and Muller's method.
fn standard_normal(random: &mut ChaCha8Rng) -> f32 {
    let radius: f64 = random.random_range(f64::MIN_POSITIVE..1.0);
    let angle: f64 = random.random_range(0.0..std::f64::consts::TAU);
    ((-2.0 * radius.ln()).sqrt() * angle.cos()) as f32
}

/// A network on a device.
#[derive(Debug)]
pub(crate) struct Planned {
    device: Arc<dyn Device>,
    pub(crate) plan: Box<dyn Plan>,
    pub(crate) network: Network,
    gradients: DeviceBuffer,
    features: [usize; 2],
    h_n: Vec<f32>,
}

impl Planned {
    /// Plans the network, with a backward if there is a `mode` for it.
    pub(crate) fn new(
        device: &Arc<dyn Device>,
        data: &Data,
        lengths: &[usize],
        mode: Option<GradientMode>,
    ) -> Result<Self> {
        let mut program = Program::new();
        let len = data.parameters.data().len();
        let parameters = device.buffer("parameters", len)?;
        device.write(&parameters, 0, data.parameters.data())?;
        let mut external = vec![(
            program.buffer("parameters", len, Role::External),
            parameters,
        )];
        let gradients = device.buffer("gradients", if mode.is_some() { len } else { 0 })?;
        if mode.is_some() {
            external.push((
                program.buffer("gradients", len, Role::External),
                gradients.clone(),
            ));
        }
        let options = NetworkOptions {
            mode: if mode.is_some() {
                Mode::Training
            } else {
                Mode::Evaluation
            },
            gradients: mode,
            initial_state: lengths == [1],
            storage: data.storage,
            wavefront: match data.wavefront {
                None => device.wave_steps(),
                Some(steps) => Some(steps).filter(|&steps| steps > 0),
            },
            ..NetworkOptions::on(device.as_ref())
        };
        let packing = Arc::new(Packing::new(lengths)?);
        let to_gradients = external.get(1).map(|(buffer, _)| Region::from(*buffer));
        let weights = Region::from(external[0].0);
        let network = Network::new(
            &mut program,
            &data.config,
            &packing,
            &options,
            weights,
            to_gradients,
        )?;
        network.forward(&mut program)?;
        if mode.is_some() {
            network.backward(&mut program)?;
        }
        let h_n = vec![0.0; program.spec(network.h_n).len];
        let mut plan = device.load(program, &external)?;
        plan.run(Section::Prepare)?;
        Ok(Self {
            device: device.clone(),
            plan,
            network,
            gradients,
            features: [data.config.input_size(), data.config.output_size()],
            h_n,
        })
    }

    /// Packs the sequences and puts them on the device.
    pub(crate) fn write(&mut self, x: &[Vec<f32>]) -> Result<()> {
        let batch = PackedBatch::from_sequences(self.features[0], x)?;
        self.plan.write(self.network.x, batch.data())
    }

    /// Likewise the gradients of the outputs.
    pub(crate) fn write_gradient(&mut self, d_y: &[Vec<f32>]) -> Result<()> {
        let batch = PackedBatch::from_sequences(self.features[1], d_y)?;
        let edge = self.network.gradients.as_ref();
        let edge = edge.ok_or(Error::State("the network has no backward"))?;
        self.plan.write(edge.y, batch.data())
    }

    /// Runs the sections and waits for the device: the last states, a few numbers, are read.
    pub(crate) fn run(&mut self, backward: bool) -> Result<()> {
        let sections: &[Section] = match backward {
            true => &[Section::Forward, Section::Backward],
            false => &[Section::Forward],
        };
        let last = [(self.network.h_n, &mut self.h_n[..])];
        self.plan.run_and_read(sections, &mut { last })
    }

    /// Dispatches of a call.
    pub(crate) fn dispatches(&self, backward: bool) -> usize {
        let of = |section| self.plan.dispatches(section);
        of(Section::Forward) + if backward { of(Section::Backward) } else { 0 }
    }

    /// A step of a stream: input and state in, output and state out.
    pub(crate) fn step(&mut self, x: &[f32]) -> Result<()> {
        self.plan.write(self.network.x, x)?;
        if let Some(h0) = self.network.h0 {
            self.plan.write(h0, &self.h_n)?;
        }
        // The output of a single step is the last layer's state.
        self.run(false)
    }

    /// The states after the last run, `[layers * directions, batch, hidden]`.
    pub(crate) fn last_states(&self) -> &[f32] {
        &self.h_n
    }

    /// All of an output.
    pub(crate) fn read(&mut self, buffer: wgpu_rnn::ops::BufferId) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.plan.program().spec(buffer).len];
        self.plan.read(buffer, &mut values)?;
        Ok(values)
    }

    /// The gradients of the parameters.
    pub(crate) fn parameter_gradients(&self) -> Result<Vec<f32>> {
        self.device.read(&self.gradients, 0..self.gradients.len())
    }
}
