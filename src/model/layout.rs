//! A model's parameters: names, shapes and places in one flat buffer, and values of that layout.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::checkpoint::Tensors;
use crate::error::{Error, Result, checked_product, zeros};
use crate::initial::ParameterInitial;
use crate::nn::ParameterSpec;
use crate::params::listed;

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelParameter {
    /// Its layer's name and its own: `rnn.weight_ih_l0`.
    pub name: String,
    /// One or more sizes, row-major.
    pub shape: Vec<usize>,
    /// First element in the flat buffer.
    pub offset: usize,
    /// How it begins.
    pub initial: ParameterInitial,
    /// Whether training leaves it as it is.
    pub is_frozen: bool,
}

impl ModelParameter {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// The parameters of a model and their places in one flat buffer, in the order in which the layers were added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelLayout {
    parameters: Vec<ModelParameter>,
    by_name: HashMap<String, usize>,
    len: usize,
}

impl ModelLayout {
    /// Lays out the parameters of a layer; their numbers.
    pub(super) fn add(&mut self, layer: &str, specs: Vec<ParameterSpec>) -> Result<Vec<usize>> {
        let first = self.parameters.len();
        let (mut parameters, mut len) = (Vec::with_capacity(specs.len()), self.len);
        for spec in specs {
            let name = format!("{layer}.{}", spec.name);
            if self.by_name.contains_key(&name) {
                return Err(Error::option(
                    "name",
                    format!(
                        "parameter `{name}` is there already; `Shared` names a layer to share it with"
                    ),
                ));
            }
            let elements = checked_product("a parameter", &spec.shape)?;
            let parameter = ModelParameter {
                name,
                shape: spec.shape,
                offset: len,
                initial: spec.initial,
                is_frozen: spec.is_constant,
            };
            // A checked product of 32 bits each: the sum fits.
            len = checked_product("parameters", &[len + elements])?;
            parameters.push(parameter);
        }
        for (number, parameter) in (first..).zip(&parameters) {
            self.by_name.insert(parameter.name.clone(), number);
        }
        let numbers = (first..first + parameters.len()).collect();
        self.parameters.extend(parameters);
        self.len = len;
        Ok(numbers)
    }

    /// The number of a parameter of this name and shape.
    pub(super) fn expect(&self, name: &str, shape: &[usize]) -> Result<usize> {
        let Some(&number) = self.by_name.get(name) else {
            return Err(self.no_match(name));
        };
        let own = &self.parameters[number].shape;
        match own == shape {
            true => Ok(number),
            false => Err(Error::shape(
                format!("parameter `{name}` to be shared"),
                format!("{shape:?}"),
                format!("{own:?}"),
            )),
        }
    }

    pub(super) fn no_match(&self, pattern: &str) -> Error {
        let names: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
        let reason = format!(
            "no parameter is called `{pattern}`, there is {}",
            listed(&names)
        );
        Error::option("name", reason)
    }

    pub(super) fn parameters_mut(&mut self) -> &mut [ModelParameter] {
        &mut self.parameters
    }

    /// Refuses another layout, and names the first parameter that differs.
    pub(crate) fn check_same(&self, other: &Self) -> Result<()> {
        let count = self.parameters.len().max(other.parameters.len());
        let named = |layout: &Self, at: usize| {
            let parameter = layout.parameters.get(at);
            parameter.map_or("no further parameter".to_owned(), |parameter| {
                format!("`{}` {:?}", parameter.name, parameter.shape)
            })
        };
        let mut pairs = (0..count).map(|at| (named(self, at), named(other, at)));
        match pairs.find(|(own, theirs)| own != theirs) {
            Some((own, theirs)) => Err(Error::shape("parameters of another model", own, theirs)),
            None => Ok(()),
        }
    }

    /// All parameters in buffer order.
    pub fn parameters(&self) -> &[ModelParameter] {
        &self.parameters
    }

    /// The parameter of this name.
    pub fn find(&self, name: &str) -> Option<&ModelParameter> {
        self.by_name
            .get(name)
            .map(|&number| &self.parameters[number])
    }

    /// Elements of the flat buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The places of the parameters whose names match one of the patterns, in the flat buffer, for an optimizer's
    /// [`ParameterGroup`](crate::train::ParameterGroup). In a pattern `*` stands for any characters.
    ///
    /// # Errors
    /// [`Error::Option`] if a pattern matches no name.
    pub fn ranges(&self, patterns: &[&str]) -> Result<Vec<Range<usize>>> {
        let all = || self.parameters.iter();
        for pattern in patterns {
            if !all().any(|parameter| matches(pattern, &parameter.name)) {
                return Err(self.no_match(pattern));
            }
        }
        let wanted = all().filter(|parameter| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| matches(pattern, &parameter.name))
        });
        Ok(wanted.map(ModelParameter::range).collect())
    }

    /// The same without frozen parameters.
    pub(crate) fn trained_ranges(&self, patterns: &[&str]) -> Result<Vec<Range<usize>>> {
        let frozen = self.frozen();
        let mut ranges = self.ranges(patterns)?;
        ranges.retain(|range| !frozen.contains(range));
        Ok(ranges)
    }

    /// The places of frozen parameters.
    pub(crate) fn frozen(&self) -> Vec<Range<usize>> {
        let frozen = self
            .parameters
            .iter()
            .filter(|parameter| parameter.is_frozen);
        frozen.map(ModelParameter::range).collect()
    }
}

/// Whether a name matches a pattern, in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            // The earliest place leaves most for what follows.
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

/// Values for all parameters of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelParameters {
    layout: Arc<ModelLayout>,
    data: Vec<f32>,
}

impl ModelParameters {
    /// Draws them as the model says, from a seed: the same on every platform.
    pub(super) fn initial(layout: &Arc<ModelLayout>, seed: u64) -> Result<Self> {
        let mut data = zeros("parameters", layout.len())?;
        for parameter in layout.parameters() {
            let values = &mut data[parameter.range()];
            (parameter.initial).fill(&parameter.name, &parameter.shape, seed, values)?;
        }
        Ok(Self {
            layout: layout.clone(),
            data,
        })
    }

    /// Wraps values in the layout's order.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more or fewer.
    pub fn from_flat(layout: Arc<ModelLayout>, data: Vec<f32>) -> Result<Self> {
        match data.len() == layout.len() {
            true => Ok(Self { layout, data }),
            false => Err(Error::shape(
                "parameters of a model",
                layout.len(),
                data.len(),
            )),
        }
    }

    /// Takes them from a checkpoint's tensors, which have to be this model's, all and no others.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names the first tensor that is missing, of another shape, or left over.
    pub fn from_tensors(layout: Arc<ModelLayout>, tensors: &Tensors) -> Result<Self> {
        let expected = layout.parameters().iter();
        tensors.expect("", expected.map(|p| (p.name.as_str(), p.shape.as_slice())))?;
        let mut data = crate::error::with_room("parameters", layout.len())?;
        for parameter in layout.parameters() {
            let tensor = tensors.get(&parameter.name);
            data.extend_from_slice(tensor.map_or(&[], |tensor| tensor.data()));
        }
        Self::from_flat(layout, data)
    }

    /// As a checkpoint's tensors.
    ///
    /// # Errors
    /// None but those of [`Tensors::insert`], which a layout rules out.
    pub fn to_tensors(&self) -> Result<Tensors> {
        let mut tensors = Tensors::default();
        for parameter in self.layout.parameters() {
            let values = self.data[parameter.range()].to_vec();
            tensors.insert(parameter.name.clone(), parameter.shape.clone(), values)?;
        }
        Ok(tensors)
    }

    /// Names, shapes and places.
    pub fn layout(&self) -> &Arc<ModelLayout> {
        &self.layout
    }

    /// The flat buffer.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The flat buffer, to change.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.layout
            .find(name)
            .map(|parameter| &self.data[parameter.range()])
    }

    /// The parameter of this name, to change.
    ///
    /// # Errors
    /// [`Error::Option`] if there is none.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut [f32]> {
        let parameter = self
            .layout
            .find(name)
            .ok_or_else(|| self.layout.no_match(name))?;
        Ok(&mut self.data[parameter.range()])
    }

    /// Replaces the parameters of a recurrent layer, such as weights that were trained elsewhere.
    ///
    /// # Errors
    /// [`Error::Option`] if the layer has no such parameter, [`Error::Shape`] if it has another shape.
    pub fn set_rnn(&mut self, layer: &str, parameters: &crate::Parameters) -> Result<()> {
        for entry in parameters.layout().entries() {
            let number = self
                .layout
                .expect(&format!("{layer}.{}", entry.name), &entry.shape)?;
            let range = self.layout.parameters()[number].range();
            let values = &parameters.data()[entry.offset..entry.offset + entry.len()];
            self.data[range].copy_from_slice(values);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("head.weight", "head.weight", true),
            ("head.weight", "head.weights", false),
            ("*", "anything", true),
            ("*.bias*", "rnn.bias_ih_l0", true),
            ("*.bias", "rnn.bias_ih_l0", false),
            ("rnn.*_l0", "rnn.weight_ih_l0", true),
            ("rnn.*_l0", "rnn.weight_ih_l1", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("", "", true),
            ("", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
