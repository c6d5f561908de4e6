//! The graph that a model is written as: nodes, checked as they are added.

use std::ops::Range;
use std::sync::Arc;

use super::Model;
use super::definition::{Definition, Entry, Node};
use super::layout::{ModelParameter, matches};
use crate::config::{Activation, RnnConfig};
use crate::error::{Error, Result};
use crate::initial::ParameterInitial;
use crate::nn::{
    C_N, Combine, Concatenate, CrossEntropyLayer, CrossEntropyOptions, DropoutLayer, Embedding,
    H_N, Input, LAST, Layer, LayerNormLayer, Linear, LinearLayer, Map, NodeShape,
    PointwiseLossLayer, PoolingLayer, Recurrent, RecurrentOptions, Rows, Slice, Start, Stop,
    TimeAxis, Y,
};
use crate::ops::{PointwiseLossKind, PoolKind};

/// What a recurrent layer makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RnnNodes {
    /// The last layer's rows, `[timesteps, output size]`.
    pub y: Node,
    /// The hidden states that the last layer's directions end with, side by side, `[sequences, directions * state size]`: the state
    /// after the last real step of the forward direction, and after the first step of the reverse one. A sequence without steps
    /// ends with its initial state.
    pub last: Node,
    /// All final states, as another recurrent layer starts from them.
    pub states: StateNodes,
}

/// States of a recurrent layer: final ones, or those to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateNodes {
    /// Hidden states, `[layers * directions, sequences, state size]`.
    pub h: Node,
    /// LSTM: cell states, `[layers * directions, sequences, hidden]`.
    pub c: Option<Node>,
}

/// The parameters of a layer: new ones of this name, or those of another layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerName<'a> {
    /// New ones, called `NAME.weight` and so on.
    New(&'a str),
    /// Those of the layer that has this name already: they are shared, and receive the sum of the gradients.
    Shared(&'a str),
}

impl<'a> From<&'a str> for LayerName<'a> {
    fn from(name: &'a str) -> Self {
        Self::New(name)
    }
}

/// A model as it is written, once, whatever the batch will be: [`build`](Self::build) makes it a [`Model`], whose backward is
/// derived.
///
/// A node knows what its rows are (one a timestep of a time axis, one a sequence, one in all) and how wide they are; nodes that do
/// not fit are refused when they are put together. See the [module](super) for an example.
#[derive(Debug)]
pub struct Graph {
    definition: Definition,
    /// Layers of dropout so far: each has a number, so that another one behind it changes nothing.
    dropouts: u32,
    /// Recurrent layers so far.
    sites: usize,
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self {
            definition: Definition::new(),
            dropouts: 0,
            sites: 0,
        }
    }

    /// What a node holds.
    ///
    /// # Errors
    /// [`Error::State`] if it is another graph's.
    pub fn shape(&self, node: Node) -> Result<NodeShape> {
        let entry = self
            .definition
            .entries
            .get(node.layer)
            .filter(|_| node.graph == self.definition.id);
        let shape = entry.and_then(|entry| entry.outputs.get(node.output));
        shape
            .copied()
            .ok_or(Error::State("a node of another graph"))
    }

    /// A new time axis, for inputs with timesteps of their own.
    ///
    /// # Errors
    /// [`Error::Option`] if the name is taken.
    pub fn time_axis(&mut self, name: &str) -> Result<TimeAxis> {
        if self.definition.axes.iter().any(|axis| axis == name) {
            return Err(Error::option(
                "name",
                format!("time axis `{name}` is there already"),
            ));
        }
        self.definition.axes.push(name.to_owned());
        Ok(TimeAxis(self.definition.axes.len() - 1))
    }

    /// An input: rows of `width` elements that each batch brings under this name.
    ///
    /// # Errors
    /// [`Error::Option`] if the name is taken or the width is zero.
    pub fn input(&mut self, name: &str, rows: Rows, width: usize) -> Result<Node> {
        if width == 0 {
            return Err(Error::option("width", "must be greater than zero"));
        }
        if let Rows::Steps(axis) = rows
            && axis.0 >= self.definition.axes.len()
        {
            return Err(Error::State("a time axis of another graph"));
        }
        let mut inputs = self
            .definition
            .entries
            .iter()
            .filter(|entry| entry.is_input);
        if inputs.any(|entry| entry.name == name) {
            return Err(Error::option(
                "name",
                format!("input `{name}` is there already"),
            ));
        }
        let input = Input {
            name: name.to_owned(),
            shape: NodeShape::new(rows, width),
        };
        let node = self.push(LayerName::New(name), Arc::new(input), &[])?;
        self.definition.entries[node.layer].is_input = true;
        Ok(node)
    }

    /// An input of ragged sequences: rows of `width` elements, one a timestep of a new time axis, both of this name.
    ///
    /// # Errors
    /// As [`time_axis`](Self::time_axis) and [`input`](Self::input).
    pub fn sequences(&mut self, name: &str, width: usize) -> Result<Node> {
        let axis = self.time_axis(name)?;
        self.input(name, Rows::Steps(axis), width)
    }

    /// Any layer, such as one of your own: its outputs.
    ///
    /// # Errors
    /// [`Error::State`] for a node of another graph, or one of which the layer would need a gradient that it doesn't give;
    /// [`Error::Option`] if a new name is taken, or a shared one is not there or of other parameters; the layer's own.
    pub fn layer<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        layer: Arc<dyn Layer>,
        inputs: &[Node],
    ) -> Result<Vec<Node>> {
        let first = self.push(name.into(), layer, inputs)?;
        let outputs = 0..self.definition.entries[first.layer].outputs.len();
        Ok(outputs.map(|output| Node { output, ..first }).collect())
    }

    fn push(
        &mut self,
        name: LayerName<'_>,
        layer: Arc<dyn Layer>,
        inputs: &[Node],
    ) -> Result<Node> {
        let outputs = self.outputs_of(layer.as_ref(), inputs)?;
        let parameters = self.parameters_of(name, layer.as_ref())?;
        Ok(self.push_entry(name, layer, inputs, (parameters, outputs)))
    }

    /// What a layer makes of these inputs, if it takes them. Nothing is added before this is known.
    fn outputs_of(&self, layer: &dyn Layer, inputs: &[Node]) -> Result<Vec<NodeShape>> {
        let mut shapes = Vec::with_capacity(inputs.len());
        for node in inputs {
            shapes.push(self.shape(*node)?);
            if self.definition.entries[node.layer].layer.is_loss() {
                return Err(Error::State(
                    "a loss can be minimised or be an output; no layer can read it",
                ));
            }
        }
        layer.outputs(&shapes)
    }

    /// The numbers of a layer's parameters; new ones are laid out.
    fn parameters_of(&mut self, name: LayerName<'_>, layer: &dyn Layer) -> Result<Vec<usize>> {
        let specs = layer.parameters();
        match name {
            LayerName::New(name) => self.definition.layout.add(name, specs),
            LayerName::Shared(name) => {
                let shared = self
                    .definition
                    .entries
                    .iter()
                    .any(|entry| entry.name == name);
                if !shared || specs.is_empty() {
                    let reason = format!("no layer `{name}` has parameters to share");
                    return Err(Error::option("name", reason));
                }
                let shared = specs.into_iter().map(|spec| {
                    let full = format!("{name}.{}", spec.name);
                    self.definition.layout.expect(&full, &spec.shape)
                });
                shared.collect()
            }
        }
    }

    fn push_entry(
        &mut self,
        name: LayerName<'_>,
        layer: Arc<dyn Layer>,
        inputs: &[Node],
        (parameters, outputs): (Vec<usize>, Vec<NodeShape>),
    ) -> Node {
        let (LayerName::New(name) | LayerName::Shared(name)) = name;
        self.definition.entries.push(Entry {
            name: name.to_owned(),
            layer,
            inputs: inputs
                .iter()
                .map(|node| (node.layer, node.output))
                .collect(),
            parameters,
            outputs,
            is_input: false,
        });
        Node {
            graph: self.definition.id,
            layer: self.definition.entries.len() - 1,
            output: 0,
        }
    }

    fn unnamed(&mut self, layer: impl Layer + 'static, inputs: &[Node]) -> Result<Node> {
        let name = format!("{} {}", layer.kind(), self.definition.entries.len());
        self.push(LayerName::New(&name), Arc::new(layer), inputs)
    }

    /// Ids to rows of tables, with scalar features beside them: see [`Embedding`].
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn embedding<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        records: Node,
        embedding: Embedding,
    ) -> Result<Node> {
        self.push(name.into(), Arc::new(embedding), &[records])
    }

    /// A recurrent network that starts from zeros. Its parameters begin as PyTorch's do.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn rnn<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        x: Node,
        config: &RnnConfig,
    ) -> Result<RnnNodes> {
        self.rnn_with(name, x, config, RecurrentOptions::default(), None)
    }

    /// A recurrent network with options of its own; `initial` are the states that it starts from, with [`Start::Given`].
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Option`] if initial states are given where none are asked for, or the other way round.
    pub fn rnn_with<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        x: Node,
        config: &RnnConfig,
        options: RecurrentOptions,
        initial: Option<StateNodes>,
    ) -> Result<RnnNodes> {
        if (options.start == Start::Given) != initial.is_some() {
            let reason = "must be `Start::Given` where initial states are given, and only there";
            return Err(Error::option("start", reason));
        }
        let mut inputs = vec![x];
        if let Some(states) = initial {
            inputs.push(states.h);
            inputs.extend(states.c);
        }
        let layer = Recurrent {
            config: config.clone(),
            options,
            first_site: self.sites,
        };
        let outputs = self.layer(name, Arc::new(layer), &inputs)?;
        self.sites += config.layer_count();
        let nodes = RnnNodes {
            y: outputs[Y],
            last: outputs[LAST],
            states: StateNodes {
                h: outputs[H_N],
                c: outputs.get(C_N).copied(),
            },
        };
        Ok(nodes)
    }

    /// `x W^T + b`, row by row, to `outputs` elements.
    ///
    /// # Errors
    /// As [`layer`](Self::layer) and [`Linear::new`].
    pub fn linear<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        x: Node,
        outputs: usize,
    ) -> Result<Node> {
        let layer = self.linear_layer(x, outputs, true)?;
        self.push(name.into(), layer, &[x])
    }

    /// `x W^T`, row by row.
    ///
    /// # Errors
    /// As [`linear`](Self::linear).
    pub fn linear_without_bias<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        x: Node,
        outputs: usize,
    ) -> Result<Node> {
        let layer = self.linear_layer(x, outputs, false)?;
        self.push(name.into(), layer, &[x])
    }

    /// A linear layer whose weight is another parameter, `[outputs, inputs]`, such as an embedding's table (Press and Wolf 2017);
    /// the bias is its own.
    ///
    /// # Errors
    /// As [`linear`](Self::linear); [`Error::Option`] if there is no such parameter, or it has no row for each output of as many
    /// elements as `x` has.
    pub fn linear_tied(&mut self, name: &str, x: Node, weight: &str) -> Result<Node> {
        let width = self.shape(x)?.width;
        let outputs = self
            .definition
            .layout
            .find(weight)
            .map_or(0, |parameter| parameter.shape[0]);
        let number = self.definition.layout.expect(weight, &[outputs, width])?;
        let layer = self.linear_layer(x, outputs, true)?;
        let shapes = self.outputs_of(layer.as_ref(), &[x])?;
        let own = layer.parameters().into_iter().skip(1).collect();
        let mut parameters = vec![number];
        parameters.extend(self.definition.layout.add(name, own)?);
        Ok(self.push_entry(LayerName::New(name), layer, &[x], (parameters, shapes)))
    }

    fn linear_layer(&self, x: Node, outputs: usize, has_bias: bool) -> Result<Arc<dyn Layer>> {
        let linear = Linear::new(self.shape(x)?.width, outputs)?;
        Ok(Arc::new(LinearLayer { linear, has_bias }))
    }

    /// Dropout, drawn anew for each element: see [`Dropout`](crate::nn::Dropout). Nothing is dropped in evaluation.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Option`] if the probability is not in `0..1`.
    pub fn dropout(&mut self, x: Node, probability: f32) -> Result<Node> {
        let layer = DropoutLayer {
            probability,
            number: self.dropouts,
        };
        let node = self.unnamed(layer, &[x])?;
        self.dropouts += 1;
        Ok(node)
    }

    /// Each row to mean 0 and variance 1, then scaled and shifted: see [`LayerNorm`](crate::nn::LayerNorm). PyTorch's `epsilon` is
    /// 1e-5.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Option`] if `epsilon` is not greater than zero.
    pub fn layer_norm<'a>(
        &mut self,
        name: impl Into<LayerName<'a>>,
        x: Node,
        epsilon: f32,
    ) -> Result<Node> {
        let width = self.shape(x)?.width;
        let layer = LayerNormLayer { width, epsilon };
        self.push(name.into(), Arc::new(layer), &[x])
    }

    /// The mean or the maximum over the real steps of each sequence, column by column; zeros for a sequence without steps.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn pool(&mut self, x: Node, kind: PoolKind) -> Result<Node> {
        self.unnamed(PoolingLayer(kind), &[x])
    }

    /// `a + b`
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn add(&mut self, a: Node, b: Node) -> Result<Node> {
        self.unnamed(Combine::Add, &[a, b])
    }

    /// `a - b`
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn subtract(&mut self, a: Node, b: Node) -> Result<Node> {
        self.unnamed(Combine::Subtract, &[a, b])
    }

    /// `a * b`, element by element.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn multiply(&mut self, a: Node, b: Node) -> Result<Node> {
        self.unnamed(Combine::Multiply, &[a, b])
    }

    /// `factor * x`
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Data`] if the factor is not finite.
    pub fn scale(&mut self, x: Node, factor: f32) -> Result<Node> {
        self.unnamed(Map::Scale(factor), &[x])
    }

    /// An activation of each element.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Data`] if a number of it is not finite.
    pub fn activate(&mut self, x: Node, activation: Activation) -> Result<Node> {
        self.unnamed(Map::Activate(activation), &[x])
    }

    /// Inputs side by side, row by row.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn concatenate(&mut self, inputs: &[Node]) -> Result<Node> {
        self.unnamed(Concatenate, inputs)
    }

    /// Some columns of each row.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn slice(&mut self, x: Node, columns: Range<usize>) -> Result<Node> {
        self.unnamed(Slice(columns), &[x])
    }

    /// The same values, across which no gradient passes.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn stop(&mut self, x: Node) -> Result<Node> {
        self.unnamed(Stop, &[x])
    }

    /// A loss that each element has by itself: the mean over all elements.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Option`] for a number of the loss out of its range.
    pub fn loss(
        &mut self,
        kind: PointwiseLossKind,
        prediction: Node,
        target: Node,
    ) -> Result<Node> {
        self.unnamed(PointwiseLossLayer(kind), &[prediction, target])
    }

    /// Likewise with a weight for each row: the weighted mean. What has weight 0 is masked.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn weighted_loss(
        &mut self,
        kind: PointwiseLossKind,
        prediction: Node,
        target: Node,
        weights: Node,
    ) -> Result<Node> {
        let layer = PointwiseLossLayer(kind);
        self.unnamed(layer, &[prediction, target, weights])
    }

    /// Softmax cross-entropy of rows of logits with one class each: see
    /// [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy). A class of -1 masks its row.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Option`] for a number of the loss out of its range.
    pub fn cross_entropy(
        &mut self,
        logits: Node,
        classes: Node,
        options: CrossEntropyOptions,
    ) -> Result<Node> {
        let layer = self.cross_entropy_layer(logits, options)?;
        self.unnamed(layer, &[logits, classes])
    }

    /// Likewise with a weight for each row.
    ///
    /// # Errors
    /// As [`cross_entropy`](Self::cross_entropy).
    pub fn weighted_cross_entropy(
        &mut self,
        logits: Node,
        classes: Node,
        weights: Node,
        options: CrossEntropyOptions,
    ) -> Result<Node> {
        let layer = self.cross_entropy_layer(logits, options)?;
        self.unnamed(layer, &[logits, classes, weights])
    }

    fn cross_entropy_layer(
        &self,
        logits: Node,
        options: CrossEntropyOptions,
    ) -> Result<CrossEntropyLayer> {
        Ok(CrossEntropyLayer {
            classes: self.shape(logits)?.width,
            options,
        })
    }

    /// Adds a loss, times `weight`, to what training makes small.
    ///
    /// # Errors
    /// [`Error::State`] if the node is no loss, or is minimised already; [`Error::Data`] if the weight is not finite.
    pub fn minimize(&mut self, loss: Node, weight: f32) -> Result<()> {
        self.shape(loss)?;
        if !self.definition.entries[loss.layer].layer.is_loss() {
            return Err(Error::State("only a loss can be minimised"));
        }
        if self
            .definition
            .minimized
            .iter()
            .any(|(layer, _)| *layer == loss.layer)
        {
            return Err(Error::State("the loss is minimised already"));
        }
        crate::error::check_finite("weight of loss", &[weight])?;
        self.definition.minimized.push((loss.layer, weight));
        Ok(())
    }

    /// Makes a node an output of the model under this name.
    ///
    /// # Errors
    /// [`Error::State`] if it is another graph's, [`Error::Option`] if the name is taken.
    pub fn output(&mut self, name: &str, node: Node) -> Result<()> {
        self.shape(node)?;
        if self
            .definition
            .results
            .iter()
            .any(|(other, _)| other == name)
        {
            return Err(Error::option(
                "name",
                format!("output `{name}` is there already"),
            ));
        }
        self.definition.results.push((name.to_owned(), node));
        Ok(())
    }

    /// Freezes the parameters whose names match: training leaves them as they are. In a pattern `*` stands for any characters.
    ///
    /// # Errors
    /// [`Error::Option`] if no parameter matches.
    pub fn freeze(&mut self, pattern: &str) -> Result<()> {
        self.each_matching(pattern, |parameter| parameter.is_frozen = true)
    }

    /// How the parameters begin whose names match.
    ///
    /// # Errors
    /// [`Error::Option`] if no parameter matches.
    pub fn initial(&mut self, pattern: &str, initial: ParameterInitial) -> Result<()> {
        self.each_matching(pattern, |parameter| parameter.initial = initial.clone())
    }

    fn each_matching(&mut self, pattern: &str, change: impl Fn(&mut ModelParameter)) -> Result<()> {
        let mut found = false;
        for parameter in self.definition.layout.parameters_mut() {
            if matches(pattern, &parameter.name) {
                change(parameter);
                found = true;
            }
        }
        match found {
            true => Ok(()),
            false => Err(self.definition.layout.no_match(pattern)),
        }
    }

    /// The model.
    ///
    /// # Errors
    /// [`Error::State`] if there is neither an output nor a loss to minimise, or if what is trained leads to a layer's input that
    /// has no gradient, such as ids or targets.
    pub fn build(self) -> Result<Model> {
        Model::new(self.definition)
    }
}
