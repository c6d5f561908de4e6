//! Manifests: what a suite's cases mean.
//!
//! A key that is absent takes the format's default. A key or a value that this reader does not know could change the
//! meaning of a case, so it refuses the case and names the key; keys that only describe a case are listed as such.

use std::path::Path;

use serde_json::{Map, Value};
use wgpu_rnn::{
    Activations, Bias, Cell, CellSpec, Clip, Coupled, Direction, GruReset, GruUpdate,
    LayerNormKind, Peephole, RnnConfig, Zoneout,
};

use crate::Stop;
use crate::activation::{activation, narrow};
use crate::tensor::Tensors;

/// A suite's manifest.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    cases: Map<String, Value>,
    supported: bool,
}

impl Suite {
    /// Reads the manifest of `folder`; a suite without a name is called like its folder.
    pub(crate) fn read(folder: &Path, folder_name: &str) -> Result<Self, String> {
        let path = folder.join("manifest.json");
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let mut root: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let Some(Value::Object(cases)) = root.get_mut("cases").map(Value::take) else {
            return Err("has no object `cases`".to_owned());
        };
        let name = root.get("suite").and_then(Value::as_str);
        Ok(Self {
            name: name.unwrap_or(folder_name).to_owned(),
            cases,
            supported: root.get("format").is_none_or(|format| *format == 1),
        })
    }

    /// All cases by name.
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        self.cases.iter().map(|(name, entry)| Case {
            name,
            entry,
            supported: self.supported,
        })
    }
}

/// One case's entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    entry: &'a Value,
    supported: bool,
}

/// What a case's entry says, in this crate's terms.
#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) config: RnnConfig,
    pub(crate) time: usize,
    pub(crate) batch: usize,
    /// `gates[k]` is the block of rows where the source keeps this crate's gate `k`.
    pub(crate) gates: Vec<usize>,
    /// Likewise for the peepholes of `i f o`.
    pub(crate) peepholes: Vec<usize>,
    /// Matrices are stored as `[in, gates * hidden]`.
    pub(crate) columns: bool,
    pub(crate) x_axes: String,
    pub(crate) y_axes: String,
    pub(crate) state_axes: String,
    /// Reverse directions write, and hand on to the next layer, their outputs in the order in which they compute them.
    pub(crate) processing_order: bool,
    /// Every number of the case is a 32-bit float.
    pub(crate) exact: bool,
}

pub(crate) fn unsupported<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Unsupported(what.into()))
}

pub(crate) fn broken<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Broken(what.into()))
}

/// One object of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    what: &'static str,
    pub(crate) map: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(what: &'static str, value: Option<&'a Value>) -> Result<Self, Stop> {
        match value {
            None | Some(Value::Null) => Ok(Self { what, map: None }),
            Some(Value::Object(map)) => Ok(Self {
                what,
                map: Some(map),
            }),
            Some(_) => broken(format!("manifest: {what} is no object")),
        }
    }

    /// Refuses keys that are not `known`, unless they say that something is not there.
    pub(crate) fn refuse_unknown(&self, known: &[&str]) -> Result<(), Stop> {
        for (key, value) in self.map.into_iter().flatten() {
            if !known.contains(&key.as_str()) && !is_nothing(value) {
                return unsupported(format!("{}.{key} = {value}", self.what));
            }
        }
        Ok(())
    }

    /// The value of `key`, if it is there and says something.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map?.get(key).filter(|value| !is_nothing(value))
    }

    fn text(&self, key: &str, default: &'static str) -> Result<&'a str, Stop> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::String(text)) => Ok(text),
            Some(other) => broken(format!("manifest: {}.{key} is {other}, no text", self.what)),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Stop> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => broken(format!(
                    "manifest: {}.{key} is {value}, no number",
                    self.what
                )),
            },
        }
    }

    fn size(&self, key: &str) -> Result<Option<usize>, Stop> {
        match self.map.and_then(|map| map.get(key)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
                Some(size) => Ok(Some(size)),
                None => broken(format!("manifest: {}.{key} is {value}, no size", self.what)),
            },
        }
    }

    fn required_size(&self, key: &str) -> Result<usize, Stop> {
        let missing = || Stop::Broken(format!("manifest: {}.{key} is missing", self.what));
        self.size(key)?.ok_or_else(missing)
    }

    /// Where the source keeps each of `ours`: single letters, in a list or in a string.
    fn order(&self, key: &str, ours: &str, default: &str) -> Result<Vec<usize>, Stop> {
        let theirs: String = match self.get(key) {
            None => default.to_owned(),
            Some(Value::String(letters)) => letters.clone(),
            Some(Value::Array(letters)) => letters.iter().filter_map(Value::as_str).collect(),
            Some(_) => String::new(),
        };
        let place = |letter| theirs.chars().position(|their| their == letter);
        let order: Option<Vec<usize>> = ours.chars().map(place).collect();
        match order {
            Some(order) if theirs.chars().count() == order.len() => Ok(order),
            _ => unsupported(format!(
                "{}.{key} `{theirs}`: not a permutation of `{ours}`",
                self.what
            )),
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

impl<'a> Case<'a> {
    fn fields(&self, what: &'static str) -> Result<Fields<'a>, Stop> {
        Fields::new(what, self.entry.get(what))
    }

    /// The file's name, which lies in the suite's own folder.
    pub(crate) fn file(&self) -> Result<String, Stop> {
        let default = format!("{}.safetensors", self.name);
        let file = match self.entry.get("file") {
            None => default.as_str(),
            Some(file) => file.as_str().unwrap_or(""),
        };
        let is_plain = Path::new(file).file_name() == Some(file.as_ref());
        match is_plain {
            true => Ok(file.to_owned()),
            false => broken(format!("manifest: file `{file}` is not a plain file name")),
        }
    }

    /// The tensors to compare with their tolerances.
    pub(crate) fn tolerances(&self) -> Result<Vec<(&'a str, f64)>, Stop> {
        let entries = self.fields("tolerance")?.map.into_iter().flatten();
        let tolerances = entries.map(|(name, value)| match value.as_f64() {
            Some(tolerance) => Ok((name.as_str(), tolerance)),
            None => broken(format!("manifest: tolerance.{name} is {value}, no number")),
        });
        let tolerances: Vec<_> = tolerances.collect::<Result<_, Stop>>()?;
        match tolerances.is_empty() {
            true => broken("manifest: no tolerance, so there is nothing to compare"),
            false => Ok(tolerances),
        }
    }

    /// The name under which what is compared with the tensor `name` is computed.
    pub(crate) fn compare_as(&self, name: &'a str) -> &'a str {
        let source = self.entry.get("compare_as").and_then(|map| map.get(name));
        source.and_then(Value::as_str).unwrap_or(name)
    }

    /// Checks that the file has the shapes that the entry lists.
    pub(crate) fn check_shapes(&self, tensors: &Tensors) -> Result<(), Stop> {
        for (name, shape) in self.fields("tensors")?.map.into_iter().flatten() {
            let sizes = shape.as_array().into_iter().flatten();
            let shape: Option<Vec<usize>> = sizes
                .map(|size| usize::try_from(size.as_u64()?).ok())
                .collect();
            match (shape, tensors.get(name)) {
                (Some(shape), Some(tensor)) => tensor.expect_shape(name, &shape)?,
                (None, _) => return broken(format!("manifest: tensors.{name} is no shape")),
                (_, None) => return broken(format!("tensor {name}: not in the file")),
            }
        }
        Ok(())
    }

    /// Reads the entry; `tensors` say which parameters there are.
    pub(crate) fn meaning(&self, tensors: &Tensors) -> Result<Meaning, Stop> {
        if !self.supported {
            return unsupported("another `format` than 1");
        }
        let (sizes, attributes, conventions) = (
            self.fields("sizes")?,
            self.fields("attributes")?,
            self.fields("conventions")?,
        );
        sizes.refuse_unknown(&[
            "time",
            "batch",
            "input",
            "hidden",
            "layers",
            "directions",
            "projection",
        ])?;
        attributes.refuse_unknown(&[MEANINGFUL_ATTRIBUTES, DESCRIPTIVE_ATTRIBUTES].concat())?;
        conventions.refuse_unknown(CONVENTIONS)?;
        let (cell, gates, gate_order) = match self.entry.get("cell").and_then(Value::as_str) {
            Some("lstm") => (Cell::Lstm, "ifgo", "ifgo"),
            Some("gru") => (Cell::Gru, "rzn", "zrn"),
            Some("rnn") => (Cell::Elman, "h", "h"),
            other => return unsupported(format!("cell {other:?}")),
        };
        let mut exact = true;
        let reader = ConfigReader {
            cell,
            sizes,
            attributes,
            conventions,
            tensors,
        };
        let config = reader.read(&mut exact)?;
        let axes = |key, default| {
            let spec = conventions.text(key, default)?;
            Ok::<String, Stop>(match spec.contains(',') {
                true => spec.replace('P', "H"),
                false => spec.chars().map(String::from).collect::<Vec<_>>().join(","),
            })
        };
        Ok(Meaning {
            config,
            time: sizes.required_size("time")?,
            batch: sizes.required_size("batch")?,
            gates: conventions.order("gate_order", gates, gate_order)?,
            peepholes: conventions.order("peephole_order", "ifo", "ifo")?,
            columns: match conventions.text("weight_layout", "gates_rows")? {
                "gates_rows" => false,
                "gates_cols" => true,
                other => return unsupported(format!("conventions.weight_layout `{other}`")),
            },
            x_axes: axes("x_axes", "TBI")?,
            y_axes: axes("y_axes", "T,B,DH")?,
            state_axes: axes("state_axes", "LD,B,H")?,
            processing_order: match conventions.text("reverse_output_order", "input_time")? {
                "input_time" => false,
                "processing" => true,
                other => return unsupported(format!("conventions.reverse_output_order `{other}`")),
            },
            exact,
        })
    }
}

/// Attributes that [`ConfigReader`] reads.
const MEANINGFUL_ATTRIBUTES: &[&str] = &[
    "direction",
    "activations",
    "clip",
    "cell_clip",
    "proj_clip",
    "clip_hidden_input",
    "coupled_input_forget",
    "layer_norm",
    "zoneout_prob",
    "linear_before_reset",
];

/// Attributes that say in the source's words what sizes, tensors and conventions say too.
const DESCRIPTIVE_ATTRIBUTES: &[&str] = &[
    "seed",
    "notes",
    "batch_first",
    "time_major",
    "packed",
    "layout",
    "bias",
    "bidirectional",
    "hidden_size",
    "input_size",
    "num_layers",
    "proj_size",
    "nonlinearity",
];

const CONVENTIONS: &[&str] = &[
    "gate_order",
    "weight_layout",
    "bias",
    "gru_reset",
    "gru_update",
    "peephole_order",
    "peephole_o_state",
    "x_axes",
    "y_axes",
    "state_axes",
    "reverse_output_order",
];

/// Reads a network's configuration.
#[derive(Debug)]
struct ConfigReader<'a> {
    cell: Cell,
    sizes: Fields<'a>,
    attributes: Fields<'a>,
    conventions: Fields<'a>,
    tensors: &'a Tensors,
}

impl ConfigReader<'_> {
    /// `exact` becomes false if a number is not a 32-bit float.
    fn read(&self, exact: &mut bool) -> Result<RnnConfig, Stop> {
        let (input, hidden) = (
            self.sizes.required_size("input")?,
            self.sizes.required_size("hidden")?,
        );
        let direction = self.direction()?;
        let mut builder = match self.cell {
            Cell::Lstm => RnnConfig::lstm(input, hidden),
            Cell::Gru => RnnConfig::gru(input, hidden)
                .reset(self.reset()?)
                .update(self.update()?),
            _ => RnnConfig::elman(input, hidden),
        };
        builder = builder
            .layers(self.sizes.size("layers")?.unwrap_or(1))
            .direction(direction)
            .bias(self.bias()?)
            .activations_of_each(self.activations(direction.count(), exact)?);
        if let Some(projection) = self.sizes.size("projection")?.filter(|&size| size > 0) {
            builder = builder.projection(projection, self.has("b_proj"));
        } else if self.has("w_proj") {
            return broken("manifest: a projection's weights, but no sizes.projection");
        }
        if self.has("peephole") {
            builder = builder.peephole(match self.conventions.text("peephole_o_state", "new")? {
                "new" => Peephole::New,
                "old" => Peephole::Old,
                other => {
                    return unsupported(format!("conventions.peephole_o_state `{other}`"));
                }
            });
        }
        match self.attributes.text("coupled_input_forget", "")? {
            "" => {}
            "f_from_i" => builder = builder.coupled(Coupled::ForgetFromInput),
            "i_from_f" => builder = builder.coupled(Coupled::InputFromForget),
            other => return unsupported(format!("attributes.coupled_input_forget `{other}`")),
        }
        if let Some((kind, epsilon)) = self.layer_norm()? {
            builder = builder.layer_norm(kind, epsilon);
        }
        let hidden = self.optional("zoneout_prob", exact)?.unwrap_or(0.0);
        let builder = builder
            .clip(self.clip(exact)?)
            .zoneout(Zoneout { hidden, cell: 0.0 });
        Ok(builder.build()?)
    }

    /// Whether any layer and direction has the parameter.
    fn has(&self, parameter: &str) -> bool {
        let names = self.tensors.keys();
        let mut parameters =
            names.filter_map(|name| name.strip_prefix("param.")?.splitn(3, '.').nth(2));
        parameters.any(|name| name == parameter)
    }

    fn direction(&self) -> Result<Direction, Stop> {
        let directions = self.sizes.size("directions")?;
        let default = match directions {
            Some(2) => "bidirectional",
            _ => "forward",
        };
        let direction = match self.attributes.text("direction", default)? {
            "forward" => Direction::Forward,
            "reverse" => Direction::Reverse,
            "bidirectional" => Direction::BidirectionalConcat,
            other => return unsupported(format!("attributes.direction `{other}`")),
        };
        match directions {
            Some(count) if count != direction.count() => broken(format!(
                "manifest: sizes.directions is {count}, attributes.direction is {direction:?}"
            )),
            _ => Ok(direction),
        }
    }

    fn reset(&self) -> Result<GruReset, Stop> {
        let default = match self
            .attributes
            .map
            .and_then(|map| map.get("linear_before_reset"))
        {
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => "before",
            _ => "after",
        };
        match self.conventions.text("gru_reset", default)? {
            "after" => Ok(GruReset::After),
            "before" => Ok(GruReset::Before),
            other => unsupported(format!("conventions.gru_reset `{other}`")),
        }
    }

    fn update(&self) -> Result<GruUpdate, Stop> {
        match self.conventions.text("gru_update", "keep_old")? {
            "keep_old" => Ok(GruUpdate::KeepOld),
            "take_new" => Ok(GruUpdate::TakeNew),
            other => unsupported(format!("conventions.gru_update `{other}`")),
        }
    }

    /// As the tensors are; the convention says the same.
    fn bias(&self) -> Result<Bias, Stop> {
        let found = match (self.has("b"), self.has("b_x") || self.has("b_h")) {
            (false, false) => Bias::None,
            (true, false) => Bias::One,
            (false, true) => Bias::Two,
            (true, true) => return unsupported("parameters `b` and `b_x` or `b_h` together"),
        };
        match (self.conventions.text("bias", "")?, found) {
            ("", _) | ("none", Bias::None) | ("one", Bias::One) | ("two", Bias::Two) => Ok(found),
            (said @ ("none" | "one" | "two"), _) => broken(format!(
                "manifest: conventions.bias is `{said}`, the file has {found:?}"
            )),
            (other, _) => unsupported(format!("conventions.bias `{other}`")),
        }
    }

    fn layer_norm(&self) -> Result<Option<(LayerNormKind, f64)>, Stop> {
        let fields = Fields::new("layer_norm", self.attributes.get("layer_norm"))?;
        if fields.map.is_none() {
            return Ok(None);
        }
        fields.refuse_unknown(&["kind", "epsilon"])?;
        let kind = match (fields.text("kind", "")?, self.cell) {
            ("whole_then_sum_lstm", Cell::Lstm) | ("whole_then_sum_gru", Cell::Gru) => {
                LayerNormKind::WholeThenSum
            }
            ("per_gate", _) => LayerNormKind::PerGate,
            (other, cell) => {
                return unsupported(format!("layer_norm.kind `{other}` for {cell:?}"));
            }
        };
        match fields.number("epsilon")? {
            Some(epsilon) => Ok(Some((kind, epsilon))),
            None => broken("manifest: layer_norm.epsilon is missing or 0"),
        }
    }

    fn clip(&self, exact: &mut bool) -> Result<Clip, Stop> {
        let gates = self.optional("clip", exact)?;
        Ok(Clip {
            gates,
            cell: self.optional("cell_clip", exact)?,
            hidden: match self.attributes.get("clip_hidden_input") {
                None => None,
                Some(Value::Bool(true) | Value::Number(_)) => gates,
                Some(other) => {
                    return unsupported(format!("attributes.clip_hidden_input = {other}"));
                }
            },
            projection: self.optional("proj_clip", exact)?,
        })
    }

    fn optional(&self, key: &str, exact: &mut bool) -> Result<Option<f32>, Stop> {
        let number = self.attributes.number(key)?;
        Ok(number.map(|number| narrow(number, exact)))
    }

    fn activations(&self, directions: usize, exact: &mut bool) -> Result<[Activations; 2], Stop> {
        let mut activations = [Activations::default(); 2];
        let given: &[Value] = match self.attributes.get("activations") {
            None => return Ok(activations),
            Some(Value::Array(given)) => given,
            Some(other) => {
                return broken(format!(
                    "manifest: attributes.activations is no list: {other}"
                ));
            }
        };
        if given.len() != directions {
            return broken(format!(
                "manifest: {} objects in attributes.activations for {directions} directions",
                given.len()
            ));
        }
        for (activations, given) in activations.iter_mut().zip(given) {
            let fields = Fields::new("activations", Some(given))?;
            fields.refuse_unknown(&["gate", "candidate", "hidden"])?;
            for (target, role) in [
                (&mut activations.gate, "gate"),
                (&mut activations.candidate, "candidate"),
                (&mut activations.hidden, "hidden"),
            ] {
                if let Some(given) = fields.get(role) {
                    *target = activation(given, exact)?;
                }
            }
        }
        Ok(activations)
    }
}

/// The gate that coupling leaves unused, whose parameters the format tells to ignore.
pub(crate) fn unused_gate(spec: &CellSpec) -> Option<usize> {
    match spec.coupled? {
        _ if spec.is_whole_norm() => None,
        Coupled::ForgetFromInput => Some(1),
        Coupled::InputFromForget => Some(0),
    }
}
