//! What a model is given: values for its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Model;
use crate::batch::{PackedBatch, Packing};
use crate::error::{Error, Result};
use crate::nn::{BatchShape, NodeShape, Rows};
use crate::params::listed;

/// Values for the inputs of a model, by name: packed sequences, and rows.
///
/// ```
/// use wgpu_rnn::model::Batch;
/// // Two sequences of one feature, and a label for each.
/// let batch = Batch::new()
///     .sequences("x", 1, &[vec![0.5, 0.25, 1.0], vec![2.0]])?
///     .rows("label", vec![1.0, 0.0]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    values: BTreeMap<String, Values>,
    /// Places whose carried states begin anew.
    fresh: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct Values {
    /// Of rows for timesteps.
    packing: Option<Arc<Packing>>,
    data: Vec<f32>,
}

impl Batch {
    /// A batch without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows for timesteps: one for each of the packed sequences' steps.
    #[must_use]
    pub fn packed(mut self, name: &str, batch: PackedBatch) -> Self {
        let packing = Some(batch.packing().clone());
        let data = batch.into_data();
        self.values
            .insert(name.to_owned(), Values { packing, data });
        self
    }

    /// Sequences of rows of `width` elements, each `[length, width]`, in any order; packed here.
    ///
    /// # Errors
    /// [`Error::Shape`] if a sequence is not made of such rows.
    pub fn sequences<S: AsRef<[f32]>>(
        self,
        name: &str,
        width: usize,
        sequences: &[S],
    ) -> Result<Self> {
        Ok(self.packed(name, PackedBatch::from_sequences(width, sequences)?))
    }

    /// Rows for sequences in the caller's order, for states, or one in all.
    #[must_use]
    pub fn rows(mut self, name: &str, data: Vec<f32>) -> Self {
        let values = Values {
            packing: None,
            data,
        };
        self.values.insert(name.to_owned(), values);
        self
    }

    /// Says that other sequences begin in these places: states that are carried there start from zeros.
    #[must_use]
    pub fn fresh(mut self, places: Vec<usize>) -> Self {
        self.fresh = places;
        self
    }

    /// Places whose carried states begin anew.
    pub(crate) fn fresh_places(&self) -> &[usize] {
        &self.fresh
    }

    /// The values of an input, and where its rows are timesteps the packing.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.values.get(name).map(|values| values.data.as_slice())
    }
}

impl Model {
    /// The shape of a batch.
    ///
    /// # Errors
    /// [`Error::Shape`] if an input has other rows than the model's, inputs of one time axis have other timesteps, or the inputs are
    /// of different numbers of sequences; [`Error::Option`] for the name of no input.
    pub fn shape_of(&self, batch: &Batch) -> Result<BatchShape> {
        let mut packings: Vec<Option<Arc<Packing>>> = vec![None; self.0.definition.axes.len()];
        let mut sequences: Option<(usize, &str)> = None;
        for (name, values) in &batch.values {
            let shape = self.input_shape(name)?;
            let count = match (shape.rows, &values.packing) {
                (Rows::Steps(axis), Some(packing)) => {
                    let known = packings[axis.0].get_or_insert_with(|| packing.clone());
                    if **known != **packing {
                        let what = format!("timesteps of input `{name}`");
                        let axis = self.axis_name(axis);
                        let expected = format!("those of the other inputs of time axis `{axis}`");
                        return Err(Error::shape(what, expected, "others"));
                    }
                    Some(packing.batch())
                }
                (Rows::Steps(_), None) => {
                    let what = format!("input `{name}`");
                    return Err(Error::shape(what, "packed sequences", "rows"));
                }
                (_, Some(_)) => {
                    let what = format!("input `{name}`");
                    return Err(Error::shape(what, shape.rows, "packed sequences"));
                }
                (Rows::One, None) => None,
                (Rows::Sequences, None) => Some(values.data.len() / shape.width),
                (Rows::States(blocks), None) => {
                    Some(values.data.len() / shape.width / blocks.max(1))
                }
            };
            match (sequences, count) {
                (None, Some(count)) => sequences = Some((count, name)),
                (Some((expected, other)), Some(got)) if expected != got => {
                    let what = format!("sequences of input `{name}`");
                    return Err(Error::shape(
                        what,
                        format!("{expected}, as of `{other}`"),
                        got,
                    ));
                }
                _ => {}
            }
        }
        let sequences = sequences.map_or(0, |(count, _)| count);
        let shape = BatchShape::new(sequences, packings)?;
        for (name, values) in &batch.values {
            let expected = shape.elements(self.input_shape(name)?)?;
            if values.data.len() != expected {
                let what = format!("values of input `{name}`");
                return Err(Error::shape(what, expected, values.data.len()));
            }
        }
        if let Some(place) = batch.fresh.iter().find(|&&place| place >= sequences) {
            let expected = format!("less than {sequences}");
            return Err(Error::shape("place of a fresh sequence", expected, place));
        }
        Ok(shape)
    }

    /// Checks the values that layers read without another layer between: ids, labels, classes, weights.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Data`] that names the layer and the first bad value.
    pub fn check_values(&self, batch: &Batch) -> Result<()> {
        let entries = self.entries();
        for entry in entries {
            let given: Vec<Option<&[f32]>> = { entry.inputs.iter() }
                .map(|(from, _)| match entries[*from].is_input {
                    true => batch.get(&entries[*from].name),
                    false => None,
                })
                .collect();
            if given.iter().any(Option::is_some) {
                entry.layer.check_values(&given)?;
            }
        }
        Ok(())
    }

    fn input_shape(&self, name: &str) -> Result<NodeShape> {
        let found = self.inputs().find(|(input, _)| *input == name);
        found.map(|(_, shape)| shape).ok_or_else(|| {
            let names: Vec<&str> = self.inputs().map(|(name, _)| name).collect();
            let there = listed(&names);
            Error::option(
                "input",
                format!("there is no input `{name}`, there is {there}"),
            )
        })
    }
}
