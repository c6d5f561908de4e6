//! A model as a table.

use std::fmt::{self, Display};

use super::{Model, ModelPlaces, Wanted};
use crate::error::Result;
use crate::nn::{BatchShape, NodeShape, Rows};
use crate::ops::{Mode, Program, Role};
use crate::rnn::{GradientMode, NetworkOptions};

/// The layers of a model: see [`Model::summary`]. As text a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// In the order in which they were added.
    pub layers: Vec<LayerSummary>,
    /// Elements of all parameters.
    pub parameters: usize,
    /// Of these the ones that training leaves as they are.
    pub frozen: usize,
}

/// A layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// Its kind and its settings.
    pub kind: String,
    /// Its first output.
    pub output: String,
    /// Elements of its parameters; of shared ones in the first layer that has them.
    pub parameters: usize,
    /// Bytes of activations that it keeps for the backward, if a batch was given.
    pub activations: Option<u64>,
}

impl Model {
    /// The layers as a table; with the shape of a batch also the bytes of activations that training keeps of each.
    ///
    /// ```
    /// # use wgpu_rnn::{RnnConfig, model::Graph};
    /// # let mut graph = Graph::new();
    /// # let x = graph.sequences("x", 2)?;
    /// # let rnn = graph.rnn("rnn", x, &RnnConfig::lstm(2, 8).build()?)?;
    /// # let y = graph.linear("head", rnn.last, 1)?;
    /// # graph.output("y", y)?;
    /// # let model = graph.build()?;
    /// let summary = model.summary(None)?;
    /// assert_eq!(summary.parameters, 4 * 8 * (2 + 8 + 2) + 9);
    /// println!("{summary}");
    /// # Ok::<(), wgpu_rnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn summary(&self, batch: Option<&BatchShape>) -> Result<Summary> {
        let activations = batch.map(|batch| self.activations(batch)).transpose()?;
        let layout = self.layout().parameters();
        let mut seen = vec![false; layout.len()];
        let mut layers = Vec::with_capacity(self.entries().len());
        for (number, entry) in self.entries().iter().enumerate() {
            let mut parameters = 0;
            for &own in &entry.parameters {
                if !std::mem::replace(&mut seen[own], true) {
                    parameters += layout[own].len();
                }
            }
            let settings = entry.layer.settings();
            let kind = match settings.is_empty() {
                true => entry.layer.kind().to_owned(),
                false => format!("{} {settings}", entry.layer.kind()),
            };
            layers.push(LayerSummary {
                name: entry.name.clone(),
                kind,
                output: self.shape_text(entry.outputs[0]),
                parameters,
                activations: activations.as_ref().map(|bytes| bytes[number]),
            });
        }
        let frozen = layout.iter().filter(|parameter| parameter.is_frozen);
        Ok(Summary {
            layers,
            parameters: self.layout().len(),
            frozen: frozen.map(|parameter| parameter.len()).sum(),
        })
    }

    /// Bytes that training keeps of each layer.
    fn activations(&self, batch: &BatchShape) -> Result<Vec<u64>> {
        let mut program = Program::new();
        let len = self.layout().len();
        let places = ModelPlaces {
            parameters: program.buffer("parameters", len, Role::External).into(),
            gradients: Some(program.buffer("gradients", len, Role::External).into()),
        };
        let options = NetworkOptions {
            mode: Mode::Training,
            gradients: self.has_loss().then_some(GradientMode::Save),
            ..NetworkOptions::default()
        };
        let names = self.outputs();
        let wanted = Wanted {
            outputs: &names,
            loss: false,
        };
        let pushed = self.push(&mut program, batch, &options, places, wanted)?;
        Ok(pushed.activations)
    }

    fn shape_text(&self, shape: NodeShape) -> String {
        let width = shape.width;
        match shape.rows {
            Rows::One => format!("[{width}]"),
            Rows::Sequences => format!("[sequences, {width}]"),
            Rows::States(blocks) => format!("[{blocks}, sequences, {width}]"),
            Rows::Steps(axis) => format!("[steps of {}, {width}]", self.axis_name(axis)),
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["layer", "", "output", "parameters", "activations"].map(String::from)];
        for layer in &self.layers {
            rows.push([
                layer.name.clone(),
                layer.kind.clone(),
                layer.output.clone(),
                layer.parameters.to_string(),
                layer.activations.map_or(String::new(), bytes_text),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
        for [name, kind, output, parameters, activations] in &rows {
            let line = format!(
                "{name:a$}  {kind:b$}  {output:c$}  {parameters:>d$}  {activations:>e$}",
                a = widths[0],
                b = widths[1],
                c = widths[2],
                d = widths[3],
                e = widths[4],
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        write!(f, "{} parameters", self.parameters)?;
        match self.frozen {
            0 => Ok(()),
            frozen => write!(f, ", {frozen} of them frozen"),
        }
    }
}

/// Bytes for people.
fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
