//! The check of a model's gradients: what a device computes against finite differences of the reference in double precision.

use std::fmt::{self, Display};

use super::predictor::write;
use super::reference::Reference;
use super::{Batch, Model, ModelParameters, ModelPlaces, Wanted};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::{Mode, Program, Role, Section};
use crate::rnn::{GradientMode, NetworkOptions};

/// How gradients are checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientCheckOptions {
    /// Whether dropout and zoneout draw, the same masks in each evaluation.
    pub mode: Mode,
    /// What they draw from.
    pub seed: u64,
    /// Elements of each parameter that are checked, spread over it evenly; 0: all.
    pub elements: usize,
    /// Half the distance of a finite difference.
    pub step: f64,
    /// The largest error that passes; see [`CheckedParameter::error`].
    pub tolerance: f64,
}

impl Default for GradientCheckOptions {
    /// In training mode, 16 elements of each parameter, a step of 1e-4, a tolerance of 1e-3.
    fn default() -> Self {
        Self {
            mode: Mode::Training,
            seed: 1,
            elements: 16,
            step: 1e-4,
            tolerance: 1e-3,
        }
    }
}

/// The element of a parameter whose gradient was worst.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedParameter {
    /// The parameter.
    pub name: String,
    /// Elements that were checked.
    pub checked: usize,
    /// The worst of them.
    pub element: usize,
    /// What the device came to.
    pub got: f64,
    /// The finite difference.
    pub expected: f64,
    /// Their distance, as a share of the largest expected gradient among the parameter's checked elements, or of a thousandth of the
    /// largest one of all parameters if that is more.
    pub error: f64,
}

/// What a check came to; as text a table, worst first.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientReport {
    /// All parameters that are trained, worst first.
    pub parameters: Vec<CheckedParameter>,
    tolerance: f64,
}

impl GradientReport {
    /// Whether all gradients are right.
    pub fn passes(&self) -> bool {
        self.worst()
            .is_none_or(|worst| worst.error <= self.tolerance)
    }

    /// The worst of all; `None` if nothing is trained.
    pub fn worst(&self) -> Option<&CheckedParameter> {
        self.parameters.first()
    }
}

impl Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.parameters.iter().map(|parameter| parameter.name.len());
        let width = names.max().unwrap_or(0).max("parameter".len());
        writeln!(
            f,
            "{:width$} {:>8} {:>13} {:>13} {:>9}",
            "parameter", "element", "device", "difference", "error"
        )?;
        for parameter in &self.parameters {
            let bad = if parameter.error <= self.tolerance {
                ""
            } else {
                "  WRONG"
            };
            writeln!(
                f,
                "{:width$} {:>8} {:>13.6e} {:>13.6e} {:>9.1e}{bad}",
                parameter.name,
                parameter.element,
                parameter.got,
                parameter.expected,
                parameter.error
            )?;
        }
        Ok(())
    }
}

/// Gradients of the checked elements of a parameter: by the device, and by differences.
struct Compared {
    number: usize,
    elements: Vec<usize>,
    got: Vec<f64>,
    expected: Vec<f64>,
}

impl Model {
    /// Compares the gradients that a device computes for a batch with finite differences of the losses, computed by plain loops in
    /// double precision. For any model of the crate's layers, and of your own ones that have a
    /// [reference](crate::nn::Layer::reference).
    ///
    /// ```
    /// use wgpu_rnn::RnnConfig;
    /// use wgpu_rnn::cpu::CpuDevice;
    /// use wgpu_rnn::model::{Batch, Graph, GradientCheckOptions};
    /// use wgpu_rnn::nn::Rows;
    /// use wgpu_rnn::ops::PointwiseLossKind;
    ///
    /// let mut graph = Graph::new();
    /// let x = graph.sequences("x", 2)?;
    /// let rnn = graph.rnn("rnn", x, &RnnConfig::lstm(2, 3).build()?)?;
    /// let y = graph.linear("head", rnn.last, 1)?;
    /// let target = graph.input("target", Rows::Sequences, 1)?;
    /// let loss = graph.loss(PointwiseLossKind::Squared, y, target)?;
    /// graph.minimize(loss, 1.0)?;
    /// let model = graph.build()?;
    ///
    /// let batch = Batch::new()
    ///     .sequences("x", 2, &[vec![0.5, -0.5, 1.0, 0.0], vec![0.25, 2.0]])?
    ///     .rows("target", vec![1.0, -1.0]);
    /// let report = model.check_gradients(
    ///     &CpuDevice::new()?,
    ///     &model.initial(1)?,
    ///     &batch,
    ///     &GradientCheckOptions::default(),
    /// )?;
    /// assert!(report.passes(), "{report}");
    /// # Ok::<(), wgpu_rnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if the parameters or the batch do not fit the model, [`Error::State`] for a model without a loss or with a
    /// layer without a reference, [`Error::Option`] for a step that is not greater than zero; the device's errors.
    pub fn check_gradients(
        &self,
        device: &dyn Device,
        parameters: &ModelParameters,
        batch: &Batch,
        options: &GradientCheckOptions,
    ) -> Result<GradientReport> {
        if !(options.step > 0.0 && options.step.is_finite()) {
            let reason = format!("must be greater than zero and finite, is {}", options.step);
            return Err(Error::option("step", reason));
        }
        self.layout().check_same(parameters.layout())?;
        self.check_values(batch)?;
        let gradients = self.gradients(device, parameters, batch, options)?;
        let compared = self.differences(parameters, batch, options, &gradients)?;
        Ok(self.report(&compared, options.tolerance))
    }

    /// The gradients as a device computes them.
    fn gradients(
        &self,
        device: &dyn Device,
        parameters: &ModelParameters,
        batch: &Batch,
        check: &GradientCheckOptions,
    ) -> Result<Vec<f32>> {
        let mut program = Program::new();
        let len = self.layout().len();
        let values = program.buffer("parameters", len, Role::Input);
        let gradients = program.buffer("gradients", len, Role::Input);
        let options = NetworkOptions {
            mode: check.mode,
            gradients: Some(GradientMode::Save),
            ..NetworkOptions::on(device)
        };
        let places = ModelPlaces {
            parameters: values.into(),
            gradients: Some(gradients.into()),
        };
        let shape = self.shape_of(batch)?;
        let pushed = self.push(&mut program, &shape, &options, places, Wanted::default())?;
        let mut plan = device.load(program, &[])?;
        plan.set_seed(check.seed)?;
        plan.write(values, parameters.data())?;
        plan.write(gradients, &vec![0.0; len])?;
        write(plan.as_mut(), &pushed.inputs, batch)?;
        let mut result = vec![0.0; len];
        let sections = [Section::Prepare, Section::Forward, Section::Backward];
        plan.run_and_read(&sections, &mut [(gradients, result.as_mut_slice())])?;
        Ok(result)
    }

    fn differences(
        &self,
        parameters: &ModelParameters,
        batch: &Batch,
        options: &GradientCheckOptions,
        gradients: &[f32],
    ) -> Result<Vec<Compared>> {
        let losses: Vec<usize> = self.minimized().iter().map(|(layer, _)| *layer).collect();
        let reference = Reference::new(self, batch, &losses)?.drawing(options.mode, options.seed);
        let mut values: Vec<f64> = parameters.data().iter().map(|&v| v.into()).collect();
        let base = reference.run(&values, (&[], 0))?;
        let mut compared = Vec::new();
        for (number, parameter) in self.layout().parameters().iter().enumerate() {
            let uses = |entry: &super::definition::Entry| entry.parameters.contains(&number);
            let Some(first) = self.entries().iter().position(uses) else {
                continue;
            };
            if parameter.is_frozen || parameter.is_empty() {
                continue;
            }
            let every = match options.elements {
                0 => 1,
                wanted => parameter.len().div_ceil(wanted),
            };
            let elements: Vec<usize> = (0..parameter.len()).step_by(every).collect();
            let mut expected = Vec::with_capacity(elements.len());
            for element in &elements {
                let at = parameter.offset + element;
                let value = values[at];
                let mut loss_at = |shift: f64| {
                    values[at] = value + shift;
                    let run = reference.run(&values, (&base, first))?;
                    Ok::<f64, Error>(reference.loss(&run, (&base, first)))
                };
                let difference = loss_at(options.step)? - loss_at(-options.step)?;
                values[at] = value;
                expected.push(difference / (2.0 * options.step));
            }
            let got = elements
                .iter()
                .map(|at| f64::from(gradients[parameter.offset + at]));
            compared.push(Compared {
                number,
                got: got.collect(),
                elements,
                expected,
            });
        }
        Ok(compared)
    }

    fn report(&self, compared: &[Compared], tolerance: f64) -> GradientReport {
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let all = compared.iter().map(|compared| largest(&compared.expected));
        let floor = 1e-3 * all.fold(0.0, f64::max);
        let mut parameters = Vec::with_capacity(compared.len());
        for Compared {
            number,
            elements,
            got,
            expected,
        } in compared
        {
            let scale = largest(expected).max(floor).max(f64::MIN_POSITIVE);
            let error = |at: usize| {
                let error = (got[at] - expected[at]).abs() / scale;
                // What is not a number is wrong.
                if error.is_nan() { f64::INFINITY } else { error }
            };
            let worst = (0..elements.len()).max_by(|&a, &b| error(a).total_cmp(&error(b)));
            if let Some(at) = worst {
                parameters.push(CheckedParameter {
                    name: self.layout().parameters()[*number].name.clone(),
                    checked: elements.len(),
                    element: elements[at],
                    got: got[at],
                    expected: expected[at],
                    error: error(at),
                });
            }
        }
        parameters.sort_by(|a, b| b.error.total_cmp(&a.error));
        GradientReport {
            parameters,
            tolerance,
        }
    }
}
