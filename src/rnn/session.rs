//! A device, a configuration and weights, run on whatever batch comes.

use std::sync::Arc;

use super::{GradientMode, Network, NetworkOptions};
use crate::batch::{PackedBatch, Packing};
use crate::config::RnnConfig;
use crate::device::{Device, DeviceBuffer, Plan};
use crate::error::{Error, Result};
use crate::ops::{BufferId, Mode, Precision, Program, Region, Role, Section};
use crate::params::Parameters;
use crate::state::{Gradients, Output, OutputGradient, State};

/// A recurrent network on a device.
///
/// Each new packing or option loads a new plan; the last one is kept, so batches of one shape run without allocation; on the
/// CPU device others take over its memory.
///
/// ```
/// use std::sync::Arc;
/// use wgpu_rnn::{Mode, OutputGradient, PackedBatch, Parameters, RnnConfig, cpu::CpuDevice, rnn::Rnn};
///
/// let config = RnnConfig::gru(2, 8).layers(2).build()?;
/// let weights = Parameters::uniform(&config, 1)?;
/// let mut rnn = Rnn::new(Arc::new(CpuDevice::new()?), config, &weights)?;
///
/// // Two sequences, 3 steps and 1 step of two features.
/// let batch = PackedBatch::from_sequences(2, &[vec![0.1; 6], vec![0.5, -0.5]])?;
/// let output = rnn.forward(&batch, None, Mode::Training)?;
/// assert_eq!(output.y.len(), 4 * 8);
///
/// // The gradient of the sum of all outputs.
/// let ones = OutputGradient { y: Some(vec![1.0; output.y.len()]), ..Default::default() };
/// let gradients = rnn.backward(&ones)?;
/// assert_eq!(gradients.parameters.len(), weights.data().len());
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug)]
pub struct Rnn {
    device: Arc<dyn Device>,
    config: RnnConfig,
    layout: Arc<crate::params::ParameterLayout>,
    parameters: DeviceBuffer,
    gradients: DeviceBuffer,
    gradient_mode: GradientMode,
    accumulate: bool,
    chunk_rows: usize,
    storage: Precision,
    wavefront: Option<usize>,
    seed: u64,
    loaded: Option<Loaded>,
}

/// A plan, what it was made for, and whether it is up to date.
#[derive(Debug)]
struct Loaded {
    packing: Arc<Packing>,
    options: NetworkOptions,
    network: Network,
    plan: Box<dyn Plan>,
    prepared: bool,
    ran: bool,
}

impl Rnn {
    /// Puts the weights on the device.
    ///
    /// # Errors
    /// [`Error::Shape`] if the weights are another configuration's; the device's errors.
    pub fn new(
        device: Arc<dyn Device>,
        config: RnnConfig,
        parameters: &Parameters,
    ) -> Result<Self> {
        let layout = Parameters::zeros(&config)?.layout().clone();
        let len = layout.len();
        let NetworkOptions {
            chunk_rows,
            wavefront,
            ..
        } = NetworkOptions::on(device.as_ref());
        let mut rnn = Self {
            parameters: device.buffer("parameters", len)?,
            gradients: device.buffer("gradients", len)?,
            device,
            config,
            layout,
            gradient_mode: GradientMode::Save,
            accumulate: false,
            chunk_rows,
            storage: Precision::F32,
            wavefront,
            seed: 0,
            loaded: None,
        };
        rnn.set_parameters(parameters)?;
        Ok(rnn)
    }

    /// The configuration.
    pub fn config(&self) -> &RnnConfig {
        &self.config
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Replaces the weights.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are another configuration's; the device's errors.
    pub fn set_parameters(&mut self, parameters: &Parameters) -> Result<()> {
        self.layout.check_same(parameters.layout())?;
        self.device.write(&self.parameters, 0, parameters.data())?;
        if let Some(loaded) = &mut self.loaded {
            loaded.prepared = false;
            loaded.ran = false;
        }
        Ok(())
    }

    /// What [`backward`](Self::backward) will start from: saved gates, or recomputed ones.
    pub fn set_gradient_mode(&mut self, mode: GradientMode) {
        self.gradient_mode = mode;
    }

    /// Whether [`backward`](Self::backward) adds the parameters' gradients to those of the calls before, instead of replacing
    /// them: for batches in parts, and for truncated backpropagation over many chunks. Starts from zero again after
    /// [`zero_gradients`](Self::zero_gradients).
    pub fn set_accumulate(&mut self, accumulate: bool) {
        self.accumulate = accumulate;
    }

    /// Sets the parameters' accumulated gradients to zero.
    ///
    /// # Errors
    /// The device's errors.
    pub fn zero_gradients(&mut self) -> Result<()> {
        let zeros = vec![0.0; self.layout.len()];
        self.device.write(&self.gradients, 0, &zeros)
    }

    /// The parameters on the device, flat in [`ParameterLayout`](crate::ParameterLayout) order. The plan packs them
    /// when [`set_parameters`](Self::set_parameters) replaced them; a write from elsewhere goes unnoticed.
    pub fn parameters(&self) -> &DeviceBuffer {
        &self.parameters
    }

    /// The parameters' gradients on the device, in the same order.
    pub fn parameter_gradients(&self) -> &DeviceBuffer {
        &self.gradients
    }

    /// Rows of a time chunk where gates are not saved: memory against the number of dispatches.
    pub fn set_chunk_rows(&mut self, rows: usize) {
        self.chunk_rows = rows.max(1);
    }

    /// How packed weights, gates and what passes between layers are stored from now on: see [`NetworkOptions::storage`].
    /// [`Precision::F16`] takes a GPU device that [can](crate::gpu::GpuDevice::can_store); with another one the next run fails.
    pub fn set_storage(&mut self, storage: Precision) {
        self.storage = storage;
    }

    /// Steps of a chunk with which a stack goes by its wavefront from now on: see
    /// [`NetworkOptions::wavefront`]; `None`: layer after layer. Before, it is as suits the device.
    pub fn set_wavefront(&mut self, steps: Option<usize>) {
        self.wavefront = steps;
    }

    /// The seed of dropout and zoneout of the next runs; the same seed draws the same masks.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Bytes that the current plan holds on the device: `(activations, all)`.
    pub fn bytes(&self) -> (u64, u64) {
        self.loaded.as_ref().map_or((0, 0), |loaded| {
            (
                loaded.plan.program().bytes(Role::Activation),
                loaded.plan.bytes(),
            )
        })
    }

    /// Runs forward, keeping nothing for a backward pass. Dropout and zoneout are as in evaluation.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch or the state does not fit the configuration; the device's errors.
    pub fn infer(&mut self, batch: &PackedBatch, initial: Option<&State>) -> Result<Output> {
        self.run(batch, initial, (Mode::Evaluation, None))
    }

    /// Runs forward and keeps what [`backward`](Self::backward) needs.
    ///
    /// # Errors
    /// As [`infer`](Self::infer).
    pub fn forward(
        &mut self,
        batch: &PackedBatch,
        initial: Option<&State>,
        mode: Mode,
    ) -> Result<Output> {
        self.run(batch, initial, (mode, Some(self.gradient_mode)))
    }

    /// The gradients of a loss whose gradient with respect to the last [`forward`](Self::forward)'s output is `output`.
    /// With saved gates each call needs a forward of its own, since the sweep turns the gates into their gradients; with
    /// [`GradientMode::Recompute`] it may be called again for another loss.
    ///
    /// # Errors
    /// [`Error::State`] without a forward before; [`Error::Shape`]; the device's errors.
    pub fn backward(&mut self, output: &OutputGradient) -> Result<Gradients> {
        let Some(loaded) = self.loaded.as_mut().filter(|loaded| loaded.ran) else {
            return Err(Error::State("`backward` needs a `forward` before it"));
        };
        let Some(buffers) = loaded.network.gradients else {
            return Err(Error::State(
                "`backward` needs `forward`, not `infer`, before it",
            ));
        };
        output.check(
            &self.config,
            loaded.packing.tokens(),
            loaded.packing.batch(),
        )?;
        loaded.ran = loaded.options.gradients != Some(GradientMode::Save);
        for (buffer, values) in [
            (Some(buffers.y), &output.y),
            (Some(buffers.h_n), &output.h),
            (buffers.c_n, &output.c),
        ] {
            if let Some(buffer) = buffer {
                loaded.write_or_zero(buffer, values.as_deref())?;
            }
        }
        let x = buffers
            .x
            .ok_or(Error::State("the plan has no input gradient"))?;
        let (x, state) = loaded.run(&[Section::Backward], (x, buffers.h0, buffers.c0))?;
        let gradients = Gradients {
            x,
            state,
            parameters: self.device.read(&self.gradients, 0..self.layout.len())?,
        };
        Ok(gradients)
    }

    fn run(
        &mut self,
        batch: &PackedBatch,
        initial: Option<&State>,
        (mode, gradients): (Mode, Option<GradientMode>),
    ) -> Result<Output> {
        if batch.features() != self.config.input_size() {
            let features = self.config.input_size();
            return Err(Error::shape(
                "features of the batch",
                features,
                batch.features(),
            ));
        }
        if let Some(state) = initial {
            state.check(&self.config, batch.packing().batch())?;
        }
        let options = NetworkOptions {
            mode,
            gradients,
            initial_state: initial.is_some(),
            accumulate: self.accumulate,
            chunk_rows: self.chunk_rows,
            storage: self.storage,
            wavefront: self.wavefront,
            ..NetworkOptions::on(self.device.as_ref())
        };
        let seed = self.seed;
        let loaded = self.load(batch.packing(), &options)?;
        // A run that fails on its way leaves nothing to go back from.
        loaded.ran = false;
        loaded.plan.set_seed(seed)?;
        loaded.plan.write(loaded.network.x, batch.data())?;
        if let Some(state) = initial {
            for (buffer, values) in [(loaded.network.h0, &state.h), (loaded.network.c0, &state.c)] {
                if let Some(buffer) = buffer {
                    loaded.plan.write(buffer, values)?;
                }
            }
        }
        let sections: &[Section] = match loaded.prepared {
            true => &[Section::Forward],
            false => &[Section::Prepare, Section::Forward],
        };
        let (y, h_n, c_n) = (loaded.network.y, loaded.network.h_n, loaded.network.c_n);
        let (y, state) = loaded.run(sections, (y, h_n, c_n))?;
        loaded.prepared = true;
        loaded.ran = true;
        Ok(Output { y, state })
    }

    fn load(&mut self, packing: &Arc<Packing>, options: &NetworkOptions) -> Result<&mut Loaded> {
        let fits = |loaded: &Loaded| loaded.options == *options && *loaded.packing == **packing;
        let loaded = match self.loaded.take().filter(fits) {
            Some(loaded) => loaded,
            None => self.plan(packing, options)?,
        };
        Ok(self.loaded.insert(loaded))
    }

    fn plan(&self, packing: &Arc<Packing>, options: &NetworkOptions) -> Result<Loaded> {
        let mut program = Program::new();
        let len = self.layout.len();
        let parameters = program.buffer("parameters", len, Role::External);
        let mut external = vec![(parameters, self.parameters.clone())];
        let gradients = options.gradients.map(|_| {
            let gradients = program.buffer("gradients", len, Role::External);
            external.push((gradients, self.gradients.clone()));
            Region::from(gradients)
        });
        let network = Network::new(
            &mut program,
            &self.config,
            packing,
            options,
            parameters.into(),
            gradients,
        )?;
        network.forward(&mut program)?;
        if options.gradients.is_some() {
            network.backward(&mut program)?;
        }
        Ok(Loaded {
            packing: packing.clone(),
            options: *options,
            network,
            plan: self.device.load(program, &external)?,
            prepared: false,
            ran: false,
        })
    }
}

impl Loaded {
    /// Runs sections and reads rows and states.
    fn run(
        &mut self,
        sections: &[Section],
        (rows, h, c): (BufferId, BufferId, Option<BufferId>),
    ) -> Result<(Vec<f32>, State)> {
        let zeros = |buffer: BufferId| vec![0.0; self.plan.program().spec(buffer).len];
        let (mut values, mut state) = (
            zeros(rows),
            State {
                h: zeros(h),
                c: c.map(zeros).unwrap_or_default(),
            },
        );
        let mut reads = vec![(rows, &mut values[..]), (h, &mut state.h[..])];
        reads.extend(c.map(|c| (c, &mut state.c[..])));
        self.plan.run_and_read(sections, &mut reads)?;
        Ok((values, state))
    }

    fn write_or_zero(&mut self, buffer: BufferId, values: Option<&[f32]>) -> Result<()> {
        match values {
            Some(values) => self.plan.write(buffer, values),
            None => {
                let zeros = vec![0.0; self.plan.program().spec(buffer).len];
                self.plan.write(buffer, &zeros)
            }
        }
    }
}
