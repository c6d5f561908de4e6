//! Models: written once as a graph, trained, run and saved from that.
//!
//! A [`Graph`] is what a model is written as, whatever its batches will be. [`Graph::build`] makes it a [`Model`]; from that come
//! the layout and the initial values of the [parameters](ModelParameters), the operations of a program for any batch with the
//! derived backward ([`Model::push`]), a [`Predictor`], the [trainer](crate::train::Trainer)'s steps, a
//! [check](Model::check_gradients) of the gradients and a [summary](Model::summary).
//!
//! ```
//! use wgpu_rnn::RnnConfig;
//! use wgpu_rnn::model::Graph;
//! use wgpu_rnn::nn::{CrossEntropyOptions, Embedding, Rows};
//!
//! // Which of four kinds a text is of: characters, a GRU over them, a linear head on its last state.
//! let mut graph = Graph::new();
//! let characters = graph.sequences("characters", 1)?;
//! let x = graph.embedding("embedding", characters, Embedding::new(128, 16)?)?;
//! let rnn = graph.rnn("rnn", x, &RnnConfig::gru(16, 32).build()?)?;
//! let kept = graph.dropout(rnn.last, 0.2)?;
//! let logits = graph.linear("head", kept, 4)?;
//! graph.output("logits", logits)?;
//!
//! let kind = graph.input("kind", Rows::Sequences, 1)?;
//! let loss = graph.cross_entropy(logits, kind, CrossEntropyOptions::default())?;
//! graph.minimize(loss, 1.0)?;
//! let model = graph.build()?;
//! assert_eq!(model.layout().len(), 128 * 16 + 3 * 32 * (16 + 32 + 2) + 4 * 33);
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```

mod batch;
mod carried;
mod check;
mod definition;
mod graph;
mod layout;
mod predictor;
mod push;
mod reference;
mod saved;
mod summary;

use std::sync::Arc;

use crate::config::RnnConfig;
use crate::error::{Error, Result};
use crate::nn::{NodeShape, TimeAxis};

pub use batch::Batch;
pub(crate) use carried::CarriedStates;
pub use check::{CheckedParameter, GradientCheckOptions, GradientReport};
pub use definition::Node;
pub use graph::{Graph, LayerName, RnnNodes, StateNodes};
pub use layout::{ModelLayout, ModelParameter, ModelParameters};
pub(crate) use predictor::write;
pub use predictor::{Outputs, Predictor};
pub use push::{ModelPlaces, NamedBuffer, PushedModel, Wanted};
pub use summary::{LayerSummary, Summary};

use definition::{Definition, Entry};

/// A model, whatever the batch: see the [module](self). Cloning it clones the handle.
#[derive(Debug, Clone)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    definition: Definition,
    layout: Arc<ModelLayout>,
    /// Of each layer whether a parameter that is trained has a part in what it makes.
    is_trained: Vec<bool>,
}

impl Model {
    fn new(definition: Definition) -> Result<Self> {
        if definition.results.is_empty() && definition.minimized.is_empty() {
            return Err(Error::State(
                "a model needs an output, or a loss that is minimised",
            ));
        }
        let mut is_trained: Vec<bool> = Vec::with_capacity(definition.entries.len());
        for entry in &definition.entries {
            let layer = &entry.layer;
            let parameters = definition.layout.parameters();
            let own = entry.parameters.iter().any(|&at| !parameters[at].is_frozen);
            let mut through = false;
            for (input, &(from, _)) in entry.inputs.iter().enumerate() {
                if !is_trained[from] || layer.stops_gradients() {
                    continue;
                }
                if !layer.differentiates(input) {
                    let what =
                        format!("input {input} of layer `{}` ({})", entry.name, layer.kind());
                    let expected = "values that nothing trained leads to: stop their gradient";
                    let from = &definition.entries[from];
                    let got = format!("what `{}` ({}) makes", from.name, from.layer.kind());
                    return Err(Error::shape(what, expected, got));
                }
                through = true;
            }
            is_trained.push(own || through);
        }
        Ok(Self(Arc::new(Inner {
            layout: Arc::new(definition.layout.clone()),
            is_trained,
            definition,
        })))
    }

    fn entries(&self) -> &[Entry] {
        &self.0.definition.entries
    }

    fn minimized(&self) -> &[(usize, f32)] {
        &self.0.definition.minimized
    }

    fn is_trained(&self, layer: usize) -> bool {
        self.0.is_trained[layer]
    }

    fn loss_weight(&self, layer: usize) -> f32 {
        let mut losses = self.minimized().iter();
        losses
            .find(|(loss, _)| *loss == layer)
            .map_or(0.0, |(_, weight)| *weight)
    }

    /// The node of an output.
    fn result(&self, name: &str) -> Result<Node> {
        let mut results = self.0.definition.results.iter();
        let found = results.find(|(other, _)| other == name);
        found.map(|(_, node)| *node).ok_or_else(|| {
            let names = self.outputs();
            let there = crate::params::listed(&names);
            Error::option(
                "output",
                format!("there is no output `{name}`, there is {there}"),
            )
        })
    }

    /// The parameters: names, shapes, places.
    pub fn layout(&self) -> &Arc<ModelLayout> {
        &self.0.layout
    }

    /// Parameters as they begin, from a seed: the same on every platform.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Data`] if initial values do not fit their parameter.
    pub fn initial(&self, seed: u64) -> Result<ModelParameters> {
        ModelParameters::initial(self.layout(), seed)
    }

    /// Names of the outputs.
    pub fn outputs(&self) -> Vec<&str> {
        let results = self.0.definition.results.iter();
        results.map(|(name, _)| name.as_str()).collect()
    }

    /// Names and shapes of the inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, NodeShape)> {
        let inputs = { self.entries().iter() }.filter(|entry| entry.is_input);
        inputs.map(|entry| (entry.name.as_str(), entry.outputs[0]))
    }

    /// Whether states go from one batch to the next.
    pub fn carries_states(&self) -> bool {
        self.entries().iter().any(|entry| entry.layer.carries())
    }

    /// Whether it can be trained: a loss is minimised.
    pub fn has_loss(&self) -> bool {
        !self.minimized().is_empty()
    }

    /// Its recurrent networks, by the names of their layers.
    pub fn networks(&self) -> impl Iterator<Item = (&str, &RnnConfig)> {
        let networks = { self.entries().iter() }.map(|entry| (entry, entry.layer.network()));
        networks.filter_map(|(entry, network)| Some((entry.name.as_str(), network?)))
    }

    /// Names of the time axes.
    fn axis_name(&self, axis: TimeAxis) -> &str {
        let name = self.0.definition.axes.get(axis.0);
        name.map_or("?", String::as_str)
    }

    /// The model in words, a line a layer: two models of the same words compute the same from the same parameters.
    pub fn description(&self) -> Vec<String> {
        let line = |(number, entry): (usize, &Entry)| {
            let inputs = entry
                .inputs
                .iter()
                .map(|(layer, output)| format!("{layer}.{output}"));
            let inputs = inputs.collect::<Vec<_>>().join(", ");
            let outputs = entry.outputs.iter().map(ToString::to_string);
            let outputs = outputs.collect::<Vec<_>>().join("; ");
            format!(
                "{number} `{}` {} {} ({inputs}) -> {outputs}",
                entry.name,
                entry.layer.kind(),
                entry.layer.fingerprint(),
            )
        };
        self.entries().iter().enumerate().map(line).collect()
    }
}
