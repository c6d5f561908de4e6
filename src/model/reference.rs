//! A model by plain loops in double precision.

use super::{Batch, Model, ModelParameters};
use crate::error::{Error, Result};
use crate::nn::{BatchShape, NodeShape, ReferenceInputs};
use crate::ops::Mode;

/// The outputs of a layer; none for one that was not needed.
type LayerValues = Vec<Vec<f64>>;

/// What a model is computed of by plain loops.
#[derive(Debug)]
pub(super) struct Reference<'a> {
    model: &'a Model,
    shape: BatchShape,
    batch: &'a Batch,
    mode: Mode,
    seed: u64,
    /// Which layers are wanted.
    needed: Vec<bool>,
}

impl<'a> Reference<'a> {
    /// Of the layers that these depend on.
    pub(super) fn new(model: &'a Model, batch: &'a Batch, wanted: &[usize]) -> Result<Self> {
        let entries = model.entries();
        let mut needed = vec![false; entries.len()];
        for &layer in wanted {
            needed[layer] = true;
        }
        for (layer, entry) in entries.iter().enumerate().rev() {
            if needed[layer] {
                entry
                    .inputs
                    .iter()
                    .for_each(|(from, _)| needed[*from] = true);
            }
        }
        Ok(Self {
            shape: model.shape_of(batch)?,
            model,
            batch,
            mode: Mode::Evaluation,
            seed: 0,
            needed,
        })
    }

    /// The same with what dropout and zoneout draw.
    pub(super) fn drawing(self, mode: Mode, seed: u64) -> Self {
        Self { mode, seed, ..self }
    }

    /// All layers' outputs from `parameters`, flat. Those before layer `first` are taken from `before`.
    pub(super) fn run(
        &self,
        parameters: &[f64],
        (before, first): (&[LayerValues], usize),
    ) -> Result<Vec<LayerValues>> {
        let entries = self.model.entries();
        let layout = self.model.layout().parameters();
        let mut values: Vec<LayerValues> = vec![Vec::new(); entries.len()];
        for (number, entry) in entries.iter().enumerate().skip(first) {
            if !self.needed[number] {
                continue;
            }
            if entry.is_input {
                values[number] = vec![self.input(&entry.name, entry.outputs[0])?];
                continue;
            }
            let of = |layer: usize| {
                if layer < first {
                    &before[layer]
                } else {
                    &values[layer]
                }
            };
            let inputs = entry.inputs.iter();
            let sources = inputs
                .clone()
                .map(|&(layer, output)| of(layer)[output].as_slice());
            let shapes = inputs.map(|&(layer, output)| entries[layer].outputs[output]);
            let parameters = { entry.parameters.iter() }
                .map(|&number| &parameters[layout[number].range()])
                .collect();
            values[number] = entry.layer.reference(&ReferenceInputs {
                batch: &self.shape,
                mode: self.mode,
                seed: self.seed,
                parameters,
                inputs: sources.collect(),
                shapes: shapes.collect(),
            })?;
        }
        Ok(values)
    }

    fn input(&self, name: &str, shape: NodeShape) -> Result<Vec<f64>> {
        let values = self
            .batch
            .get(name)
            .ok_or_else(|| Error::shape(format!("input `{name}`"), shape, "none"))?;
        Ok(values.iter().map(|&value| value.into()).collect())
    }

    /// The weighted sum of the losses among layers' outputs, of which those before `first` are in `before`.
    pub(super) fn loss(
        &self,
        values: &[LayerValues],
        (before, first): (&[LayerValues], usize),
    ) -> f64 {
        let of = |layer: usize| {
            if layer < first {
                &before[layer]
            } else {
                &values[layer]
            }
        };
        let losses = self.model.minimized().iter();
        losses
            .map(|&(layer, weight)| of(layer)[0][0] * f64::from(weight))
            .sum()
    }
}

impl Model {
    /// An output by plain loops in double precision, as in evaluation: what devices are compared with.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch does not fit or the parameters are another model's; [`Error::Data`] for ids or classes out of
    /// range; [`Error::Option`] for the name of no output; a layer's own.
    pub fn reference(
        &self,
        parameters: &ModelParameters,
        batch: &Batch,
        output: &str,
    ) -> Result<Vec<f64>> {
        let node = self.result(output)?;
        self.layout().check_same(parameters.layout())?;
        self.check_values(batch)?;
        let parameters: Vec<f64> = parameters.data().iter().map(|&v| v.into()).collect();
        let reference = Reference::new(self, batch, &[node.layer])?;
        let mut values = reference.run(&parameters, (&[], 0))?;
        Ok(values.swap_remove(node.layer).swap_remove(node.output))
    }
}
