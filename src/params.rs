//! Weights and gradients: PyTorch's names and layout, one flat buffer.
//!
//! All parameters of a network lie in one `f32` buffer, so that an optimizer, a norm or an all-reduce is one pass.
//! [`ParameterLayout`] says where each tensor lies. Names are PyTorch's (`weight_ih_l0`, `bias_hh_l1_reverse`, ...);
//! tensors that PyTorch does not have are named in the same manner.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::config::{Bias, Cell, RnnConfig};
use crate::error::{Error, Result, checked_product};

/// What a parameter tensor is. `G` gates (LSTM `i f g o`, GRU `r z n`), `H` hidden units, `P` state units (`H` without
/// projection), `I` inputs of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParameterKind {
    /// `weight_ih`: `[G * H, I]`
    WeightInput,
    /// `weight_hh`: `[G * H, P]`
    WeightRecurrent,
    /// `bias_ih`: `[G * H]`
    BiasInput,
    /// `bias_hh`: `[G * H]`
    BiasRecurrent,
    /// `weight_hr`: `[P, H]`
    WeightProjection,
    /// `bias_hr`: `[P]`
    BiasProjection,
    /// `weight_peephole`: `[3 * H]`, order `i f o`
    Peephole,
    /// `norm_ih`: `[G * H]`, scales of the normalised input products
    NormInput,
    /// `norm_hh`: `[G * H]`, scales of the normalised recurrent products
    NormRecurrent,
    /// `norm_cell_weight`: `[H]`
    NormCellWeight,
    /// `norm_cell_bias`: `[H]`
    NormCellBias,
    /// `norm_gates`: `[G * H]`, scales of each gate's normalised sum
    NormGates,
}

impl ParameterKind {
    /// The name's stem.
    pub fn stem(self) -> &'static str {
        match self {
            Self::WeightInput => "weight_ih",
            Self::WeightRecurrent => "weight_hh",
            Self::BiasInput => "bias_ih",
            Self::BiasRecurrent => "bias_hh",
            Self::WeightProjection => "weight_hr",
            Self::BiasProjection => "bias_hr",
            Self::Peephole => "weight_peephole",
            Self::NormInput => "norm_ih",
            Self::NormRecurrent => "norm_hh",
            Self::NormCellWeight => "norm_cell_weight",
            Self::NormCellBias => "norm_cell_bias",
            Self::NormGates => "norm_gates",
        }
    }
}

/// Where one tensor lies in the flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterEntry {
    /// Full name, such as `weight_ih_l0_reverse`.
    pub name: String,
    /// What it is.
    pub kind: ParameterKind,
    /// Layer, from 0.
    pub layer: usize,
    /// Direction, 0 or 1. The only direction of a [`Reverse`](crate::Direction::Reverse) network is 0.
    pub direction: usize,
    /// One or two sizes, row-major.
    pub shape: Vec<usize>,
    /// First element.
    pub offset: usize,
}

impl ParameterEntry {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element; never so in a built configuration.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tensors of a network and their places in one flat buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterLayout {
    entries: Vec<ParameterEntry>,
    by_key: HashMap<(usize, usize, ParameterKind), usize>,
    len: usize,
}

impl ParameterLayout {
    /// Lays out the parameters of `config`, layer by layer, direction by direction.
    ///
    /// # Errors
    /// [`Error::Overflow`] if they do not fit a 32-bit index.
    pub fn new(config: &RnnConfig) -> Result<Self> {
        let mut layout = Self {
            entries: Vec::new(),
            by_key: HashMap::new(),
            len: 0,
        };
        for layer in 0..config.layer_count() {
            for direction in 0..config.directions() {
                for (kind, shape) in tensors_of(config, layer) {
                    layout.push(layer, direction, kind, shape)?;
                }
            }
        }
        Ok(layout)
    }

    fn push(
        &mut self,
        layer: usize,
        direction: usize,
        kind: ParameterKind,
        shape: Vec<usize>,
    ) -> Result<()> {
        let reverse = if direction == 1 { "_reverse" } else { "" };
        let entry = ParameterEntry {
            name: format!("{}_l{layer}{reverse}", kind.stem()),
            kind,
            layer,
            direction,
            offset: self.len,
            shape,
        };
        let len = checked_product("a parameter", &entry.shape)?;
        self.len += len;
        checked_product("parameters", &[self.len])?;
        self.by_key
            .insert((layer, direction, kind), self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    /// All tensors in buffer order.
    pub fn entries(&self) -> &[ParameterEntry] {
        &self.entries
    }

    /// Elements of the flat buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no parameter; never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tensor of `kind` in a layer and direction, if the configuration has one.
    pub fn find(
        &self,
        layer: usize,
        direction: usize,
        kind: ParameterKind,
    ) -> Option<&ParameterEntry> {
        let index = self.by_key.get(&(layer, direction, kind))?;
        self.entries.get(*index)
    }

    /// Checks that `other` has the same tensors, and names the first that differs.
    pub(crate) fn check_same(&self, other: &Self) -> Result<()> {
        if self == other {
            return Ok(());
        }
        let count = self.entries.len().max(other.entries.len());
        let pair = (0..count)
            .map(|index| [self, other].map(|layout| layout.entries.get(index)))
            .find(|[own, theirs]| own != theirs);
        let [own, theirs] = pair.unwrap_or_default().map(|entry| match entry {
            Some(entry) => format!("`{}` {:?}", entry.name, entry.shape),
            None => "no further tensor".to_owned(),
        });
        Err(Error::shape(
            "parameters of another configuration",
            own,
            theirs,
        ))
    }

    /// The places of the tensors for which `wanted` is true, in the flat buffer.
    pub fn ranges(&self, wanted: impl Fn(&ParameterEntry) -> bool) -> Vec<Range<usize>> {
        let entries = self.entries.iter().filter(|entry| wanted(entry));
        entries
            .map(|entry| entry.offset..entry.offset + entry.len())
            .collect()
    }

    /// The tensor called `name`.
    pub fn by_name(&self, name: &str) -> Option<&ParameterEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// The tensors of one layer and direction, in buffer order.
fn tensors_of(config: &RnnConfig, layer: usize) -> Vec<(ParameterKind, Vec<usize>)> {
    use ParameterKind as Kind;
    let spec = config.spec();
    let (hidden, state) = (config.hidden_size(), config.state_size());
    let rows = spec.gates() * hidden;
    let mut tensors = vec![
        (
            Kind::WeightInput,
            vec![rows, config.layer_input_size(layer)],
        ),
        (Kind::WeightRecurrent, vec![rows, state]),
    ];
    if spec.bias != Bias::None {
        tensors.push((Kind::BiasInput, vec![rows]));
    }
    if spec.bias == Bias::Two {
        tensors.push((Kind::BiasRecurrent, vec![rows]));
    }
    if let Some(projection) = spec.projection {
        tensors.push((Kind::WeightProjection, vec![projection.size, hidden]));
        if projection.bias {
            tensors.push((Kind::BiasProjection, vec![projection.size]));
        }
    }
    if spec.peephole.is_some() {
        tensors.push((Kind::Peephole, vec![3 * hidden]));
    }
    if spec.is_whole_norm() {
        tensors.push((Kind::NormInput, vec![rows]));
        tensors.push((Kind::NormRecurrent, vec![rows]));
        if spec.cell == Cell::Lstm {
            tensors.push((Kind::NormCellWeight, vec![hidden]));
            tensors.push((Kind::NormCellBias, vec![hidden]));
        }
    }
    if spec.is_per_gate_norm() {
        tensors.push((Kind::NormGates, vec![rows]));
    }
    tensors
}

/// The parameters of a network, or gradients of the same shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    layout: Arc<ParameterLayout>,
    data: Vec<f32>,
}

impl Parameters {
    /// All zeros.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the parameters do not fit a 32-bit index.
    pub fn zeros(config: &RnnConfig) -> Result<Self> {
        let layout = Arc::new(ParameterLayout::new(config)?);
        let data = crate::error::zeros("parameters", layout.len())?;
        Ok(Self { layout, data })
    }

    /// PyTorch's default initialisation, uniform in `±1 / sqrt(H)`, from a seed; the scales of layer normalisation are 1.
    /// The same seed gives the same values on every platform.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the parameters do not fit a 32-bit index.
    pub fn uniform(config: &RnnConfig, seed: u64) -> Result<Self> {
        use ParameterKind as Kind;
        let mut parameters = Self::zeros(config)?;
        let bound = 1.0 / (config.hidden_size() as f32).sqrt();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        for entry in parameters.layout.entries.clone() {
            let range = entry.offset..entry.offset + entry.len();
            for value in &mut parameters.data[range] {
                *value = match entry.kind {
                    Kind::NormInput | Kind::NormRecurrent => 1.0,
                    Kind::NormCellWeight | Kind::NormGates => 1.0,
                    Kind::NormCellBias => 0.0,
                    _ => random.random_range(-bound..bound),
                };
            }
        }
        Ok(parameters)
    }

    /// Wraps a flat buffer in `layout`'s order.
    ///
    /// # Errors
    /// [`Error::Shape`] if it has another length.
    pub fn from_flat(layout: Arc<ParameterLayout>, data: Vec<f32>) -> Result<Self> {
        if data.len() != layout.len() {
            return Err(Error::shape("flat parameters", layout.len(), data.len()));
        }
        Ok(Self { layout, data })
    }

    /// Where each tensor lies.
    pub fn layout(&self) -> &Arc<ParameterLayout> {
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

    /// The tensor called `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        let entry = self.layout.by_name(name)?;
        self.data.get(entry.offset..entry.offset + entry.len())
    }

    /// Replaces the tensor called `name`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such tensor or it has another length.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let Some(entry) = self.layout.by_name(name) else {
            return Err(Error::shape(
                "parameter name",
                names(&self.layout),
                format!("`{name}`"),
            ));
        };
        if values.len() != entry.len() {
            return Err(Error::shape(
                format!("parameter `{name}`"),
                format!("{:?}", entry.shape),
                format!("{} values", values.len()),
            ));
        }
        let offset = entry.offset;
        self.data[offset..offset + values.len()].copy_from_slice(values);
        Ok(())
    }

    /// Reads the parameters of `config` from a safetensors file's bytes: 32-bit floats under PyTorch's names, optionally
    /// behind a common `prefix` (such as `"encoder."`). Other tensors in the file with that prefix are an error, so that
    /// weights of another configuration are not half-loaded.
    ///
    /// # Errors
    /// [`Error::Format`] says what is wrong with the file, or which tensor is missing, left over or of another shape.
    pub fn from_safetensors(config: &RnnConfig, bytes: &[u8], prefix: &str) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::Format(format!("not a readable safetensors file: {error}")))?;
        let mut parameters = Self::zeros(config)?;
        for entry in parameters.layout.entries.clone() {
            let name = format!("{prefix}{}", entry.name);
            let tensor = file.tensor(&name).map_err(|_| {
                let mut names = file.names();
                names.sort_unstable();
                Error::Format(format!(
                    "tensor `{name}` {:?} is missing, the file has {}",
                    entry.shape,
                    listed(&names)
                ))
            })?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != entry.shape {
                return Err(Error::Format(format!(
                    "tensor `{name}`: expected F32 {:?}, got {:?} {:?}",
                    entry.shape,
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            let target = &mut parameters.data[entry.offset..entry.offset + entry.len()];
            for (value, bytes) in target.iter_mut().zip(tensor.data().chunks_exact(4)) {
                *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        for name in file.names() {
            let Some(stem) = name.strip_prefix(prefix) else {
                continue;
            };
            if parameters.layout.by_name(stem).is_none() {
                return Err(Error::Format(format!(
                    "tensor `{name}` has no place in this configuration, which has {}",
                    names(&parameters.layout)
                )));
            }
        }
        Ok(parameters)
    }

    /// The bytes of a safetensors file with these tensors.
    ///
    /// # Errors
    /// [`Error::Format`] if the format cannot hold them.
    pub fn to_safetensors(&self, prefix: &str) -> Result<Vec<u8>> {
        let bytes: Vec<u8> = self.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        let views = self
            .layout
            .entries
            .iter()
            .map(|entry| {
                let range = 4 * entry.offset..4 * (entry.offset + entry.len());
                let view = TensorView::new(Dtype::F32, entry.shape.clone(), &bytes[range])?;
                Ok((format!("{prefix}{}", entry.name), view))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        views
            .and_then(|views| safetensors::serialize(views, None))
            .map_err(|error| Error::Format(error.to_string()))
    }
}

fn names(layout: &ParameterLayout) -> String {
    let names: Vec<&str> = layout.entries.iter().map(|e| e.name.as_str()).collect();
    format!("one of {}", listed(&names))
}

/// The first names of a list, for an error's text.
pub(crate) fn listed(names: &[&str]) -> String {
    const MOST: usize = 20;
    match names.len() {
        0 => "none".to_owned(),
        count if count > MOST => {
            format!("{} and {} more", names[..MOST].join(", "), count - MOST)
        }
        _ => names.join(", "),
    }
}
