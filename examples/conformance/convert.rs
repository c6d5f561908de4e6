//! Tensors in a source's layout to this crate's, and results back.

use std::sync::Arc;

use wgpu_rnn::{
    Cell, Gradients, Output, OutputGradient, Packing, ParameterEntry, ParameterKind,
    ParameterLayout, RnnConfig, State,
};

use crate::Stop;
use crate::device::Network;
use crate::manifest::{Meaning, unused_gate};
use crate::tensor::{Axes, Tensor, Tensors};

/// More elements than any case of a suite has; sizes beyond come from damaged files.
const MOST_ELEMENTS: usize = 1 << 28;

/// Between a case's tensors and packed rows.
#[derive(Debug)]
pub(crate) struct Converter<'a> {
    meaning: &'a Meaning,
    tensors: &'a Tensors,
    pub(crate) packing: Arc<Packing>,
    x: Axes,
    y: Axes,
    h: Axes,
    c: Axes,
}

impl<'a> Converter<'a> {
    pub(crate) fn new(meaning: &'a Meaning, tensors: &'a Tensors) -> Result<Self, Stop> {
        let config = &meaning.config;
        check_sizes(meaning, tensors)?;
        check_names(config, tensors)?;
        let (time, batch) = (('T', meaning.time), ('B', meaning.batch));
        let directions = ('D', config.directions());
        let layers = ('L', config.layer_count());
        let (state, hidden) = (('H', config.state_size()), ('H', config.hidden_size()));
        let state_axes = &meaning.state_axes;
        let state_sizes = |width| [layers, directions, batch, width];
        Ok(Self {
            meaning,
            tensors,
            packing: Arc::new(Packing::new(&lengths(meaning, tensors)?)?),
            x: Axes::new(
                "conventions.x_axes",
                &meaning.x_axes,
                &[time, batch, ('I', config.input_size())],
            )?,
            y: Axes::new(
                "conventions.y_axes",
                &meaning.y_axes,
                &[time, batch, directions, state],
            )?,
            h: Axes::new("conventions.state_axes", state_axes, &state_sizes(state))?,
            c: Axes::new("conventions.state_axes", state_axes, &state_sizes(hidden))?,
        })
    }

    /// The network with its input and initial state.
    pub(crate) fn network(&self) -> Result<Network, Stop> {
        let x = self.tensor("in.x", self.x.shape())?;
        let x = x.ok_or_else(|| Stop::Broken("tensor in.x: not in the file".to_owned()))?;
        let mut rows = Vec::new();
        self.each_row(|step, sequence| {
            let input = |i| x.values[self.x.at(&[('T', step), ('B', sequence), ('I', i)])];
            rows.extend((0..self.meaning.config.input_size()).map(input));
        });
        let [h0, c0] = [("in.h0", &self.h), ("in.c0", &self.c)];
        Ok(Network {
            config: self.meaning.config.clone(),
            parameters: self.parameters()?,
            packing: self.packing.clone(),
            x: rows,
            initial: State {
                h: self
                    .state(h0, self.meaning.config.state_size())?
                    .unwrap_or_else(|| vec![0.0; self.h.shape().iter().product()]),
                c: match self.meaning.config.spec().cell {
                    Cell::Lstm => self
                        .state(c0, self.meaning.config.hidden_size())?
                        .unwrap_or_else(|| vec![0.0; self.c.shape().iter().product()]),
                    _ => Vec::new(),
                },
            },
        })
    }

    /// The loss's gradient with respect to the outputs; `None` if the case has none.
    pub(crate) fn loss(&self) -> Result<Option<OutputGradient<f64>>, Stop> {
        let config = &self.meaning.config;
        let y = self.tensor("up.y", self.y.shape())?.map(|up| {
            let mut rows = Vec::new();
            self.each_output(|at| rows.push(up.values[at]));
            rows
        });
        let loss = OutputGradient {
            y,
            h: self.state(("up.h_n", &self.h), config.state_size())?,
            c: match config.spec().cell {
                Cell::Lstm => self.state(("up.c_n", &self.c), config.hidden_size())?,
                _ => None,
            },
        };
        let any = loss.y.is_some() || loss.h.is_some() || loss.c.is_some();
        Ok(any.then_some(loss))
    }

    /// Outputs and gradients under the case's names, in its layout.
    pub(crate) fn results(
        &self,
        output: &Output<f64>,
        gradients: Option<&Gradients<f64>>,
    ) -> Result<Tensors, Stop> {
        let config = &self.meaning.config;
        let mut y = Tensor::zeros(self.y.shape().to_vec());
        let mut values = output.y.iter();
        self.each_output(|at| y.values[at] = values.next().copied().unwrap_or(f64::NAN));
        let mut results = Tensors::from([("out.y".to_owned(), y)]);
        let mut states = vec![("out.h_n", "out.c_n", &output.state)];
        if let Some(gradients) = gradients {
            states.push(("grad.h0", "grad.c0", &gradients.state));
            let mut x = Tensor::zeros(self.x.shape().to_vec());
            let mut values = gradients.x.iter();
            self.each_row(|step, sequence| {
                for i in 0..config.input_size() {
                    let at = self.x.at(&[('T', step), ('B', sequence), ('I', i)]);
                    x.values[at] = values.next().copied().unwrap_or(f64::NAN);
                }
            });
            results.insert("grad.x".to_owned(), x);
            self.parameter_gradients(&gradients.parameters, &mut results)?;
        }
        for (h, c, state) in states {
            results.insert(h.to_owned(), self.native_state(&state.h, &self.h));
            if config.spec().cell == Cell::Lstm {
                results.insert(c.to_owned(), self.native_state(&state.c, &self.c));
            }
        }
        Ok(results)
    }

    /// A tensor of the given shape, if it is there.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Option<&'a Tensor>, Stop> {
        let tensor = self.tensors.get(name);
        if let Some(tensor) = tensor {
            tensor.expect_shape(name, shape)?;
        }
        Ok(tensor)
    }

    /// Calls `visit` with step and sequence of each packed row.
    fn each_row(&self, mut visit: impl FnMut(usize, usize)) {
        let rows = self.packing.step_of_rows().into_iter();
        for (step, sequence) in rows.zip(self.packing.sequence_of_rows()) {
            visit(step as usize, sequence as usize);
        }
    }

    /// Calls `visit` with the place in `y` of each output of each packed row.
    fn each_output(&self, mut visit: impl FnMut(usize)) {
        let config = &self.meaning.config;
        let sorted = self.packing.sorted_of();
        self.each_row(|step, sequence| {
            let length = self.packing.lengths()[sorted[sequence] as usize];
            for direction in 0..config.directions() {
                let reverse = config.direction().is_reverse(direction);
                let step = match self.meaning.processing_order && reverse {
                    true => length - 1 - step,
                    false => step,
                };
                for unit in 0..config.state_size() {
                    let index = [('T', step), ('B', sequence), ('D', direction), ('H', unit)];
                    visit(self.y.at(&index));
                }
            }
        });
    }

    /// The places in `axes` of a state's elements in this crate's order.
    fn state_places(&self, axes: &Axes, width: usize) -> Vec<usize> {
        let config = &self.meaning.config;
        let mut places = Vec::new();
        for layer in 0..config.layer_count() {
            for direction in 0..config.directions() {
                for sequence in 0..self.meaning.batch {
                    let row = [('L', layer), ('D', direction), ('B', sequence)];
                    let row = axes.at(&row);
                    places.extend((0..width).map(|unit| row + axes.at(&[('H', unit)])));
                }
            }
        }
        places
    }

    fn state(&self, (name, axes): (&str, &Axes), width: usize) -> Result<Option<Vec<f64>>, Stop> {
        let tensor = self.tensor(name, axes.shape())?;
        let places = || self.state_places(axes, width);
        Ok(tensor.map(|tensor| places().into_iter().map(|at| tensor.values[at]).collect()))
    }

    fn native_state(&self, values: &[f64], axes: &Axes) -> Tensor {
        let mut tensor = Tensor::zeros(axes.shape().to_vec());
        let rows = self.meaning.config.layer_count() * self.meaning.config.directions();
        let width = values.len() / (rows * self.meaning.batch).max(1);
        for (at, &value) in self.state_places(axes, width).into_iter().zip(values) {
            tensor.values[at] = value;
        }
        tensor
    }

    /// All parameters, flat.
    fn parameters(&self) -> Result<Vec<f64>, Stop> {
        let layout = ParameterLayout::new(&self.meaning.config)?;
        let mut flat = vec![0.0; layout.len()];
        for entry in layout.entries() {
            let name = format!("param.{}", native_name(entry, self.tensors));
            let Some(tensor) = self.tensor(&name, &self.native_shape(entry))? else {
                // Optional ones may be missing in some layers and directions: zero.
                match is_optional(entry.kind) {
                    true => continue,
                    false => return Err(Stop::Broken(format!("tensor {name}: not in the file"))),
                }
            };
            for (index, place) in self.places(entry).into_iter().enumerate() {
                if let Some(place) = place {
                    flat[entry.offset + index] = tensor.values[place];
                }
            }
        }
        Ok(flat)
    }

    fn parameter_gradients(&self, flat: &[f64], results: &mut Tensors) -> Result<(), Stop> {
        let layout = ParameterLayout::new(&self.meaning.config)?;
        for entry in layout.entries() {
            let mut tensor = Tensor::zeros(self.native_shape(entry));
            for (index, place) in self.places(entry).into_iter().enumerate() {
                if let Some(place) = place {
                    tensor.values[place] = flat[entry.offset + index];
                }
            }
            let name = format!("grad.{}", native_name(entry, self.tensors));
            results.insert(name, tensor);
        }
        Ok(())
    }

    fn native_shape(&self, entry: &ParameterEntry) -> Vec<usize> {
        let mut shape = entry.shape.clone();
        if self.meaning.columns && is_gate_matrix(entry.kind) {
            shape.reverse();
        }
        shape
    }

    /// For each element of a parameter its place in the source's tensor; `None` for those of a gate that coupling leaves
    /// unused, whose values the format tells to ignore.
    fn places(&self, entry: &ParameterEntry) -> Vec<Option<usize>> {
        use ParameterKind as Kind;
        let hidden = self.meaning.config.hidden_size();
        let rows = entry.shape[0];
        let columns = entry.shape.get(1).copied().unwrap_or(1);
        let transposed = self.meaning.columns && is_gate_matrix(entry.kind);
        let unused = unused_gate(self.meaning.config.spec());
        let order: &[usize] = match entry.kind {
            Kind::WeightProjection | Kind::BiasProjection => &[],
            Kind::NormCellWeight | Kind::NormCellBias => &[],
            Kind::Peephole => &self.meaning.peepholes,
            _ => &self.meaning.gates,
        };
        let mut places = Vec::new();
        for row in 0..rows {
            let block = row / hidden;
            let (row, used) = match order.get(block) {
                None => (row, true),
                Some(theirs) => (theirs * hidden + row % hidden, unused != Some(block)),
            };
            for column in 0..columns {
                let place = match transposed {
                    true => column * rows + row,
                    false => row * columns + column,
                };
                places.push(used.then_some(place));
            }
        }
        places
    }
}

fn is_gate_matrix(kind: ParameterKind) -> bool {
    matches!(
        kind,
        ParameterKind::WeightInput | ParameterKind::WeightRecurrent
    )
}

fn is_optional(kind: ParameterKind) -> bool {
    use ParameterKind as Kind;
    matches!(
        kind,
        Kind::BiasInput | Kind::BiasRecurrent | Kind::BiasProjection | Kind::Peephole
    )
}

/// A parameter's name in the format, without `param.` or `grad.`.
fn native_name(entry: &ParameterEntry, tensors: &Tensors) -> String {
    use ParameterKind as Kind;
    let prefix = format!("l{}.d{}.", entry.layer, entry.direction);
    let stem = match entry.kind {
        Kind::WeightInput => "w_x",
        Kind::WeightRecurrent => "w_h",
        Kind::BiasInput if tensors.contains_key(&format!("param.{prefix}b")) => "b",
        Kind::BiasInput => "b_x",
        Kind::BiasRecurrent => "b_h",
        Kind::WeightProjection => "w_proj",
        Kind::BiasProjection => "b_proj",
        Kind::Peephole => "peephole",
        Kind::NormInput => "ln_x.gamma",
        Kind::NormRecurrent => "ln_h.gamma",
        Kind::NormCellWeight => "ln_c.gamma",
        Kind::NormCellBias => "ln_c.beta",
        Kind::NormGates => "ln_gates.gamma",
        // Kinds that a later version adds are in no file of this format.
        _ => "?",
    };
    prefix + stem
}

/// Sizes of the manifest against the tensors, so that nothing larger than the file is allocated.
fn check_sizes(meaning: &Meaning, tensors: &Tensors) -> Result<(), Stop> {
    let config = &meaning.config;
    let broken = |what: String| Err(Stop::Broken(what));
    let is_weight = |name: &str| name.starts_with("param.") && name.ends_with(".w_x");
    let weights = || tensors.iter().filter(|(name, _)| is_weight(name));
    let count = weights().count();
    // The product fits: the configuration was built.
    if count != config.layer_count() * config.directions() {
        return broken(format!(
            "{count} tensors of input weights for {} layers and {} directions",
            config.layer_count(),
            config.directions()
        ));
    }
    let rows = config.spec().gates().checked_mul(config.hidden_size());
    for (name, tensor) in weights() {
        if rows.is_none_or(|rows| !tensor.shape.contains(&rows)) {
            let hidden = config.hidden_size();
            let shape = &tensor.shape;
            return broken(format!(
                "tensor {name}: {shape:?} for {hidden} hidden units"
            ));
        }
    }
    let state = count.checked_mul(config.hidden_size().max(config.state_size()));
    let outputs = meaning.time.checked_mul(config.output_size());
    for (what, elements) in [("states", state), ("outputs", outputs)] {
        let elements = elements.and_then(|elements| elements.checked_mul(meaning.batch));
        if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            let Meaning { time, batch, .. } = meaning;
            return broken(format!(
                "sizes: too many {what} (time {time}, batch {batch}, {config:?})"
            ));
        }
    }
    Ok(())
}

/// Refuses tensors whose meaning is not known.
fn check_names(config: &RnnConfig, tensors: &Tensors) -> Result<(), Stop> {
    let layout = ParameterLayout::new(config)?;
    let entries = layout.entries().iter();
    let parameters: Vec<String> = entries.map(|entry| native_name(entry, tensors)).collect();
    for name in tensors.keys() {
        let known = match name.split_once('.') {
            Some(("in", name)) => ["x", "h0", "c0", "seq_lens"].contains(&name),
            Some(("up", name)) => ["y", "h_n", "c_n"].contains(&name),
            Some(("param", name)) => parameters.iter().any(|parameter| parameter == name),
            _ => true,
        };
        if !known {
            return Err(Stop::Unsupported(format!("tensor {name}")));
        }
    }
    Ok(())
}

/// Steps of each sequence.
fn lengths(meaning: &Meaning, tensors: &Tensors) -> Result<Vec<usize>, Stop> {
    let Some(given) = tensors.get("in.seq_lens") else {
        return Ok(vec![meaning.time; meaning.batch]);
    };
    given.expect_shape("in.seq_lens", &[meaning.batch])?;
    let length = |&length: &f64| match length {
        length if length >= 0.0 && length <= meaning.time as f64 => Ok(length as usize),
        length => Err(Stop::Broken(format!(
            "tensor in.seq_lens: expected lengths of 0 to {} steps, got {length}",
            meaning.time
        ))),
    };
    given.values.iter().map(length).collect()
}
