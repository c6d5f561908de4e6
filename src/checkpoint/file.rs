//! A checkpoint as the bytes of a safetensors file, and back.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Checkpoint, ModelCard, NETWORK, OptimizerState, Position, Tensors, VERSION};
use crate::config::RnnConfig;
use crate::data::{Scaler, Vocabulary};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;

/// The metadata entry that holds everything but tensors.
const ENTRY: &str = "wgpu_rnn";
const PARAMETERS: &str = "parameters.";
const OPTIMIZER: &str = "optimizer.";

/// Shapes by name: what the file has to hold.
type Shapes = BTreeMap<String, Vec<usize>>;

/// The metadata entry's JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    version: u64,
    /// Of this JSON with an empty checksum, then of the tensors' bytes in the order of their names.
    checksum: String,
    /// Of version 1, and of no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<RnnConfig>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, RnnConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    model: Vec<String>,
    parameters: Shapes,
    optimizer: OptimizerMetadata,
    position: Position,
    counters: BTreeMap<String, u64>,
    vocabularies: BTreeMap<String, Vocabulary>,
    scalers: BTreeMap<String, Scaler>,
    sections: BTreeMap<String, Value>,
    card: ModelCard,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerMetadata {
    kind: String,
    counters: BTreeMap<String, u64>,
    tensors: Shapes,
}

/// What is read before the rest is believed to be what this version knows.
#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

/// What is read of a safetensors header before the library reads it.
#[derive(Deserialize)]
struct Extent {
    data_offsets: [u64; 2],
}

fn broken(reason: impl std::fmt::Display) -> Error {
    Error::Checkpoint(reason.to_string())
}

impl Checkpoint {
    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Error::Data`] if a tensor or a metric is not finite; [`Error::Checkpoint`] if the format cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.parameters.check_finite("parameter")?;
        self.optimizer.tensors.check_finite("optimizer state")?;
        self.card.check()?;
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = [
            (PARAMETERS, &self.parameters),
            (OPTIMIZER, &self.optimizer.tensors),
        ]
        .into_iter()
        .flat_map(|(prefix, tensors)| {
            tensors.iter().map(move |(name, tensor)| {
                let bytes = tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect();
                (format!("{prefix}{name}"), tensor.shape().to_vec(), bytes)
            })
        })
        .collect();
        let mut metadata = self.metadata();
        metadata.checksum = checksum(
            &metadata,
            tensors
                .iter()
                .map(|(name, _, bytes)| (name.as_str(), bytes.as_slice())),
        )?;
        let text = serde_json::to_string(&metadata).map_err(broken)?;
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
                Ok((name.as_str(), view))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(broken)?;
        safetensors::serialize(views, Some(HashMap::from([(ENTRY.to_owned(), text)])))
            .map_err(broken)
    }

    fn metadata(&self) -> Metadata {
        let shapes = |tensors: &Tensors| -> Shapes {
            let shape =
                |(name, tensor): (&str, &super::Tensor)| (name.to_owned(), tensor.shape().to_vec());
            tensors.iter().map(shape).collect()
        };
        Metadata {
            version: VERSION,
            checksum: String::new(),
            config: None,
            networks: self.networks.clone(),
            model: self.model.clone(),
            parameters: shapes(&self.parameters),
            optimizer: OptimizerMetadata {
                kind: self.optimizer.kind.clone(),
                counters: self.optimizer.counters.clone(),
                tensors: shapes(&self.optimizer.tensors),
            },
            position: self.position,
            counters: self.counters.clone(),
            vocabularies: self.vocabularies.clone(),
            scalers: self.scalers.clone(),
            sections: self.sections.clone(),
            card: self.card.clone(),
        }
    }

    /// Reads the bytes of a file, all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let text = entry_of(bytes)?;
        let VersionOnly { version } = serde_json::from_str(&text).map_err(broken)?;
        if !(1..=VERSION).contains(&version) {
            return Err(broken(format!(
                "expected format version 1 to {VERSION}, got {version}"
            )));
        }
        let mut metadata: Metadata = serde_json::from_str(&text).map_err(broken)?;
        let is_first = metadata.networks.is_empty() && metadata.model.is_empty();
        if metadata.config.is_some() != (version == 1) || (version == 1 && !is_first) {
            return Err(broken(format!(
                "fields of another format version than {version}"
            )));
        }
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        check_names(&file, &metadata)?;
        let parameters = tensors(&file, PARAMETERS, &metadata.parameters)?;
        let state = tensors(&file, OPTIMIZER, &metadata.optimizer.tensors)?;
        parameters.check_finite("parameter").map_err(broken)?;
        state.check_finite("optimizer state").map_err(broken)?;
        check_sum(&file, &mut metadata)?;
        let mut networks = metadata.networks;
        networks.extend(metadata.config.map(|config| (NETWORK.to_owned(), config)));
        Ok(Self {
            networks,
            model: metadata.model,
            parameters,
            optimizer: OptimizerState {
                kind: metadata.optimizer.kind,
                counters: metadata.optimizer.counters,
                tensors: state,
            },
            position: metadata.position,
            counters: metadata.counters,
            vocabularies: metadata.vocabularies,
            scalers: metadata.scalers,
            card: metadata.card,
            sections: metadata.sections,
        })
    }
}

/// The text of our metadata entry. Lengths in the header are checked here, before the library adds them up.
fn entry_of(bytes: &[u8]) -> Result<String> {
    let not_ours =
        |error: &dyn std::fmt::Display| broken(format!("not a whole safetensors file: {error}"));
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(not_ours(&format!(
            "{} bytes, a header's length takes 8",
            bytes.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    let Some(header) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.get(..length))
    else {
        return Err(not_ours(&format!(
            "a header of {length} bytes in a file of {}",
            bytes.len()
        )));
    };
    let data = rest.len() as u64 - length;
    let mut header: BTreeMap<String, Value> =
        serde_json::from_slice(header).map_err(|error| not_ours(&error))?;
    let metadata = header.remove("__metadata__").unwrap_or_default();
    for (name, tensor) in header {
        let Extent { data_offsets } = Extent::deserialize(tensor)
            .map_err(|error| not_ours(&format!("tensor `{name}`: {error}")))?;
        if data_offsets[1] > data {
            return Err(not_ours(&format!(
                "tensor `{name}` ends at byte {} of {data}",
                data_offsets[1]
            )));
        }
    }
    match metadata.get(ENTRY) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(broken(format!(
            "a safetensors file without the metadata entry `{ENTRY}`: weights, but no checkpoint of this crate"
        ))),
    }
}

/// Refuses tensors that the metadata does not list.
fn check_names(file: &SafeTensors<'_>, metadata: &Metadata) -> Result<()> {
    let is_listed = |name: &str| {
        let parameter = name.strip_prefix(PARAMETERS);
        let state = name.strip_prefix(OPTIMIZER);
        parameter.is_some_and(|name| metadata.parameters.contains_key(name))
            || state.is_some_and(|name| metadata.optimizer.tensors.contains_key(name))
    };
    match file
        .names()
        .into_iter()
        .filter(|name| !is_listed(name))
        .min()
    {
        Some(name) => Err(broken(format!(
            "tensor `{name}` is not in the metadata's list"
        ))),
        None => Ok(()),
    }
}

/// The listed tensors.
fn tensors(file: &SafeTensors<'_>, prefix: &str, shapes: &Shapes) -> Result<Tensors> {
    let mut tensors = Tensors::default();
    for (name, shape) in shapes {
        let full = format!("{prefix}{name}");
        let view = file
            .tensor(&full)
            .map_err(|_| broken(format!("tensor `{full}` {shape:?} is missing")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(broken(format!(
                "tensor `{full}`: expected F32 {shape:?}, got {:?} {:?}",
                view.dtype(),
                view.shape()
            )));
        }
        let values = view.data().chunks_exact(4);
        let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        tensors
            .insert(name, shape.clone(), values.collect())
            .map_err(broken)?;
    }
    Ok(tensors)
}

/// Refuses contents that are not the ones that were written.
fn check_sum(file: &SafeTensors<'_>, metadata: &mut Metadata) -> Result<()> {
    let expected = std::mem::take(&mut metadata.checksum);
    let listed = |prefix, shapes: &Shapes| -> Vec<String> {
        shapes
            .keys()
            .map(|name| format!("{prefix}{name}"))
            .collect()
    };
    let mut names = listed(PARAMETERS, &metadata.parameters);
    names.extend(listed(OPTIMIZER, &metadata.optimizer.tensors));
    let views = names
        .iter()
        .map(|name| Ok((name.as_str(), file.tensor(name)?.data())))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(broken)?;
    let got = checksum(metadata, views.into_iter())?;
    match got == expected {
        true => Ok(()),
        false => Err(broken(format!(
            "damaged: expected contents of checksum {expected}, got {got}"
        ))),
    }
}

/// The checksum of metadata without one, and of tensors in order.
fn checksum<'a>(
    metadata: &Metadata,
    tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<String> {
    let mut sum = Fingerprint::default();
    sum.add(&serde_json::to_vec(metadata).map_err(broken)?);
    for (name, bytes) in tensors {
        sum.add(name.as_bytes());
        sum.add(bytes);
    }
    Ok(sum.to_string())
}
