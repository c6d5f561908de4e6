//! Tensors by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::RnnConfig;
use crate::error::{Error, Result, checked_product};
use crate::params::{ParameterLayout, Parameters, listed};

/// Values with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// The sizes; none for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// Tensors in the order of their names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    /// Adds a tensor, or replaces the one of this name.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more or fewer values than the shape has; [`Error::Overflow`] if it does not fit a
    /// 32-bit index.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        data: Vec<f32>,
    ) -> Result<()> {
        let name = name.into();
        let len = checked_product("a tensor", &shape)?;
        if len != data.len() {
            return Err(Error::shape(
                format!("tensor `{name}`"),
                format!("{len} values of {shape:?}"),
                format!("{} values", data.len()),
            ));
        }
        self.0.insert(name, Tensor { shape, data });
        Ok(())
    }

    /// Adds a network's parameters, or anything of their layout such as moments, each tensor's name after `prefix`.
    ///
    /// # Errors
    /// None but those of [`insert`](Self::insert), which a layout rules out.
    pub fn insert_network(&mut self, prefix: &str, parameters: &Parameters) -> Result<()> {
        for entry in parameters.layout().entries() {
            let values = &parameters.data()[entry.offset..entry.offset + entry.len()];
            let name = format!("{prefix}{}", entry.name);
            self.insert(name, entry.shape.clone(), values.to_vec())?;
        }
        Ok(())
    }

    /// The parameters of `config` that were added after `prefix`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names the first tensor that is missing, of another shape, or left over after the prefix.
    pub fn network(&self, prefix: &str, config: &RnnConfig) -> Result<Parameters> {
        let layout = Arc::new(ParameterLayout::new(config)?);
        let expected: Vec<(String, &[usize])> = layout
            .entries()
            .iter()
            .map(|entry| (format!("{prefix}{}", entry.name), entry.shape.as_slice()))
            .collect();
        self.expect(
            prefix,
            expected.iter().map(|(name, shape)| (name.as_str(), *shape)),
        )?;
        let mut data = crate::error::with_room("parameters", layout.len())?;
        for (name, _) in &expected {
            data.extend_from_slice(&self.0[name].data);
        }
        Parameters::from_flat(layout, data)
    }

    /// Refuses other tensors than the expected ones among those whose names begin with `prefix` (all, if it is empty):
    /// what belongs to another model is not half-loaded.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names the first tensor that is missing, of another shape, or left over.
    pub fn expect<'a>(
        &self,
        prefix: &str,
        expected: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<()> {
        let mut left: BTreeMap<&str, &Tensor> = self
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .collect();
        for (name, shape) in expected {
            let Some(tensor) = left.remove(name) else {
                let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
                return Err(Error::Checkpoint(format!(
                    "tensor `{name}` {shape:?} is missing, there is {}",
                    listed(&names)
                )));
            };
            if tensor.shape != shape {
                return Err(Error::Checkpoint(format!(
                    "tensor `{name}`: expected {shape:?}, got {:?}",
                    tensor.shape
                )));
            }
        }
        match left.first_key_value() {
            Some((name, tensor)) => Err(Error::Checkpoint(format!(
                "tensor `{name}` {:?} has no place in this model",
                tensor.shape
            ))),
            None => Ok(()),
        }
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses the first value that is not finite.
    pub(super) fn check_finite(&self, kind: &str) -> Result<()> {
        for (name, tensor) in self.iter() {
            crate::error::check_finite(&format!("{kind} `{name}`, element"), &tensor.data)?;
        }
        Ok(())
    }
}
