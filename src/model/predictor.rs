//! A model that is used: batches in, outputs out.

use std::sync::Arc;

use super::carried::CarriedStates;
use super::{Batch, Model, ModelParameters, ModelPlaces, NamedBuffer, PushedModel, Wanted};
use crate::batch::Packing;
use crate::device::{Device, DeviceBuffer, Plan};
use crate::error::{Error, Result, zeros};
use crate::nn::{BatchShape, NodeShape, Rows};
use crate::ops::{Program, Role, Section};
use crate::params::listed;
use crate::rnn::NetworkOptions;

/// Bytes of plans that a predictor keeps unless told otherwise.
const MOST_BYTES: u64 = 256 << 20;

/// A model with parameters on a device: a batch in, named outputs out.
///
/// For each shape of a batch it loads a plan; those used last are kept, as far as a [bound](Self::most_bytes) on their memory goes.
/// A run of a shape that is kept allocates nothing on the device.
///
/// ```
/// use std::sync::Arc;
/// use wgpu_rnn::RnnConfig;
/// use wgpu_rnn::cpu::CpuDevice;
/// use wgpu_rnn::model::{Batch, Graph, Predictor};
///
/// let mut graph = Graph::new();
/// let x = graph.sequences("x", 2)?;
/// let rnn = graph.rnn("rnn", x, &RnnConfig::lstm(2, 8).build()?)?;
/// let y = graph.linear("head", rnn.last, 1)?;
/// graph.output("y", y)?;
/// let model = graph.build()?;
///
/// let mut predictor = Predictor::new(Arc::new(CpuDevice::new()?), &model, &model.initial(1)?)?;
/// let outputs = predictor.run(&Batch::new().sequences("x", 2, &[vec![0.1; 6], vec![0.5; 4]])?)?;
/// assert_eq!(outputs.get("y")?.len(), 2);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor {
    device: Arc<dyn Device>,
    model: Model,
    parameters: DeviceBuffer,
    options: NetworkOptions,
    most_bytes: u64,
    /// The one used last comes last.
    plans: Vec<Loaded>,
    carried: CarriedStates,
}

/// What a plan is for.
#[derive(Debug, Clone, PartialEq)]
struct Purpose {
    shape: BatchShape,
    loss: bool,
}

#[derive(Debug)]
struct Loaded {
    purpose: Purpose,
    plan: Box<dyn Plan>,
    pushed: PushedModel,
    /// Whether the parameters are packed as they are now.
    is_prepared: bool,
}

/// What a model made of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    shape: BatchShape,
    values: Vec<(String, NodeShape, Vec<f32>)>,
}

impl Outputs {
    fn find(&self, name: &str) -> Result<(&NodeShape, &Vec<f32>)> {
        let found = self.values.iter().find(|(other, ..)| other == name);
        found
            .map(|(_, shape, values)| (shape, values))
            .ok_or_else(|| {
                let names: Vec<&str> = self.values.iter().map(|(name, ..)| name.as_str()).collect();
                let there = listed(&names);
                Error::option(
                    "output",
                    format!("there is no output `{name}`, there is {there}"),
                )
            })
    }

    /// The values of an output, `[rows, width]`: rows of sequences in the caller's order, those of timesteps packed.
    ///
    /// # Errors
    /// [`Error::Option`] if there is no such output.
    pub fn get(&self, name: &str) -> Result<&[f32]> {
        self.find(name).map(|(_, values)| values.as_slice())
    }

    /// The values of an output with rows for timesteps, sequence by sequence in the caller's order, `[length, width]` each.
    ///
    /// # Errors
    /// [`Error::Option`] if there is no such output; [`Error::Shape`] if its rows are no timesteps.
    pub fn sequences(&self, name: &str) -> Result<Vec<Vec<f32>>> {
        let (shape, values) = self.find(name)?;
        let Rows::Steps(axis) = shape.rows else {
            let what = format!("rows of output `{name}`");
            return Err(Error::shape(what, "a row a timestep", shape.rows));
        };
        let packing: &Arc<Packing> = self.shape.packing(axis)?;
        let batch = crate::PackedBatch::new(packing.clone(), shape.width, values.clone())?;
        Ok(batch.to_sequences())
    }
}

impl Predictor {
    /// Puts the parameters on the device.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are another model's; the device's errors.
    pub fn new(
        device: Arc<dyn Device>,
        model: &Model,
        parameters: &ModelParameters,
    ) -> Result<Self> {
        let buffer = device.buffer("parameters", model.layout().len())?;
        let mut predictor = Self::with_buffer(device, model, buffer)?;
        predictor.set_parameters(parameters)?;
        Ok(predictor)
    }

    /// With parameters that are on the device already, flat in the layout's order. After they change call
    /// [`parameters_changed`](Self::parameters_changed).
    ///
    /// # Errors
    /// [`Error::Shape`] if the buffer has another length.
    pub fn with_buffer(
        device: Arc<dyn Device>,
        model: &Model,
        parameters: DeviceBuffer,
    ) -> Result<Self> {
        let len = model.layout().len();
        if parameters.len() != len {
            return Err(Error::shape("parameters of a model", len, parameters.len()));
        }
        Ok(Self {
            options: NetworkOptions::on(device.as_ref()),
            device,
            model: model.clone(),
            parameters,
            most_bytes: MOST_BYTES,
            plans: Vec::new(),
            carried: CarriedStates::default(),
        })
    }

    /// The same with another bound on the bytes of the plans that it keeps; the one used last is kept in any case.
    #[must_use]
    pub fn most_bytes(self, most_bytes: u64) -> Self {
        Self { most_bytes, ..self }
    }

    /// The same with other options of its recurrent layers, such as storage in half precision.
    #[must_use]
    pub fn options(self, options: NetworkOptions) -> Self {
        Self {
            options: NetworkOptions {
                gradients: None,
                ..options
            },
            plans: Vec::new(),
            ..self
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Replaces the parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are another model's; the device's errors.
    pub fn set_parameters(&mut self, parameters: &ModelParameters) -> Result<()> {
        let (own, got) = (self.model.layout().as_ref(), parameters.layout().as_ref());
        own.check_same(got)?;
        self.device.write(&self.parameters, 0, parameters.data())?;
        self.parameters_changed();
        Ok(())
    }

    /// Says that the parameters on the device have changed.
    pub fn parameters_changed(&mut self) {
        for loaded in &mut self.plans {
            loaded.is_prepared = false;
        }
    }

    /// Forgets carried states: the next batch starts from zeros.
    pub fn forget(&mut self) {
        self.carried = CarriedStates::default();
        // Plans are bound to the buffers of these states.
        if self.model.carries_states() {
            self.plans.clear();
        }
    }

    /// Bytes of all plans that are kept.
    pub fn bytes(&self) -> u64 {
        self.plans.iter().map(|loaded| loaded.plan.bytes()).sum()
    }

    /// Runs a batch: all outputs of the model. Dropout and zoneout are as in evaluation. Inputs that no output depends on may be left
    /// out.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch does not fit the model, [`Error::Data`] for ids or classes out of range, [`Error::State`] for a
    /// model without outputs; the device's errors.
    pub fn run(&mut self, batch: &Batch) -> Result<Outputs> {
        let purpose = Purpose {
            shape: self.model.shape_of(batch)?,
            loss: false,
        };
        if self.model.outputs().is_empty() {
            return Err(Error::State("the model has no output"));
        }
        let loaded = self.written(purpose, batch)?;
        let mut values = Vec::with_capacity(loaded.pushed.outputs.len());
        for output in &loaded.pushed.outputs {
            values.push(zeros(
                "output",
                loaded.plan.program().spec(output.buffer).len,
            )?);
        }
        let outputs = loaded.pushed.outputs.iter();
        let mut reads: Vec<_> = { outputs.zip(&mut values) }
            .map(|(output, values)| (output.buffer, values.as_mut_slice()))
            .collect();
        loaded.plan.run_and_read(loaded.sections(), &mut reads)?;
        loaded.is_prepared = true;
        let named = loaded.pushed.outputs.iter().zip(values);
        let named = named.map(|(output, values)| (output.name.clone(), output.shape, values));
        Ok(Outputs {
            shape: loaded.purpose.shape.clone(),
            values: named.collect(),
        })
    }

    /// The weighted sum of the model's losses over a batch, as in evaluation.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`Error::State`] for a model without a loss that is minimised.
    pub fn loss(&mut self, batch: &Batch) -> Result<f64> {
        let purpose = Purpose {
            shape: self.model.shape_of(batch)?,
            loss: true,
        };
        if self.model.minimized().is_empty() {
            return Err(Error::State("the model has no loss that is minimised"));
        }
        let loaded = self.written(purpose, batch)?;
        let loss = loaded.pushed.loss;
        let loss = loss.ok_or(Error::State("the program has no loss"))?;
        let mut value = [0.0];
        let reads = &mut [(loss.buffer, value.as_mut_slice())];
        loaded.plan.run_and_read(loaded.sections(), reads)?;
        loaded.is_prepared = true;
        Ok(f64::from(value[0]))
    }

    /// A plan with the batch's values in it.
    fn written(&mut self, purpose: Purpose, batch: &Batch) -> Result<&mut Loaded> {
        self.model.check_values(batch)?;
        let sequences = purpose.shape.sequences();
        let place = self.place(purpose)?;
        if self.model.carries_states() {
            let carried = &self.plans[place].pushed.carried;
            // A plan of another number of sequences is refused.
            (self.carried).bindings(self.device.as_ref(), carried, sequences)?;
            self.carried
                .clear(self.device.as_ref(), batch.fresh_places())?;
        }
        let loaded = &mut self.plans[place];
        write(loaded.plan.as_mut(), &loaded.pushed.inputs, batch)?;
        Ok(loaded)
    }

    /// Where a plan for this is; it becomes the last one.
    fn place(&mut self, purpose: Purpose) -> Result<usize> {
        match self
            .plans
            .iter()
            .position(|loaded| loaded.purpose == purpose)
        {
            Some(place) => {
                let loaded = self.plans.remove(place);
                self.plans.push(loaded);
            }
            None => {
                let most = self.most_bytes;
                // What is dropped first can serve the next one.
                while self.bytes() > most {
                    self.plans.remove(0);
                }
                if most == 0 {
                    self.plans.clear();
                }
                let loaded = self.load(purpose)?;
                self.plans.push(loaded);
                while self.plans.len() > 1 && self.bytes() > most {
                    self.plans.remove(0);
                }
            }
        }
        Ok(self.plans.len() - 1)
    }

    fn load(&mut self, purpose: Purpose) -> Result<Loaded> {
        let mut program = Program::new();
        let len = self.model.layout().len();
        let parameters = program.buffer("parameters", len, Role::External);
        let names = self.model.outputs();
        let wanted = match purpose.loss {
            true => Wanted {
                outputs: &[],
                loss: true,
            },
            false => Wanted {
                outputs: &names,
                loss: false,
            },
        };
        let places = ModelPlaces {
            parameters: parameters.into(),
            gradients: None,
        };
        let shape = &purpose.shape;
        let pushed = self
            .model
            .push(&mut program, shape, &self.options, places, wanted)?;
        let mut bound = vec![(parameters, self.parameters.clone())];
        let device = self.device.as_ref();
        bound.extend(
            self.carried
                .bindings(device, &pushed.carried, shape.sequences())?,
        );
        Ok(Loaded {
            plan: self.device.load(program, &bound)?,
            purpose,
            pushed,
            is_prepared: false,
        })
    }
}

impl Loaded {
    fn sections(&self) -> &'static [Section] {
        match self.is_prepared {
            true => &[Section::Forward],
            false => &[Section::Prepare, Section::Forward],
        }
    }
}

/// Writes a batch's values to the inputs of a plan.
pub(crate) fn write(plan: &mut dyn Plan, inputs: &[NamedBuffer], batch: &Batch) -> Result<()> {
    for input in inputs {
        let Some(values) = batch.get(&input.name) else {
            let what = format!("input `{}`", input.name);
            return Err(Error::shape(what, input.shape, "none"));
        };
        plan.write(input.buffer, values)?;
    }
    Ok(())
}
