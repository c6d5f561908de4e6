//! What a layer of a [`Graph`](crate::model::Graph) is: it says what it needs and makes, pushes its forward, and what it
//! pushed knows its backward.
//!
//! The layers of this module are written against this trait alone; so can a layer of the user's own be.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use crate::batch::Packing;
use crate::config::RnnConfig;
use crate::error::{Error, Result, checked_product};
use crate::initial::ParameterInitial;
use crate::ops::{BufferId, Elementwise, ElementwiseKind, Mode, Program, Region, Role, Section};
use crate::rnn::NetworkOptions;

/// A time axis of a model: which timesteps the sequences of a batch have. A model may have several, such as one for what an
/// encoder reads and one for what a decoder writes; its sequences are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeAxis(pub(crate) usize);

/// What the rows of a node are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rows {
    /// One row in all.
    One,
    /// One row a sequence, in the caller's order.
    Sequences,
    /// Blocks of one row a sequence each: the states of a network's layers and directions, `[blocks, sequences, width]`.
    States(usize),
    /// One row a timestep, [packed](crate::Packing).
    Steps(TimeAxis),
}

impl Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => write!(f, "one row"),
            Self::Sequences => write!(f, "a row a sequence"),
            Self::States(blocks) => write!(f, "{blocks} rows a sequence"),
            Self::Steps(TimeAxis(axis)) => write!(f, "a row a timestep of time axis {axis}"),
        }
    }
}

/// What a node holds, whatever the batch: its rows and their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeShape {
    /// What its rows are.
    pub rows: Rows,
    /// Elements of a row.
    pub width: usize,
}

impl NodeShape {
    /// Rows of `width` elements.
    pub fn new(rows: Rows, width: usize) -> Self {
        Self { rows, width }
    }
}

impl Display for NodeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.rows, self.width)
    }
}

/// A batch without its values: how many sequences it has, and which timesteps they have on each time axis of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchShape {
    sequences: usize,
    packings: Vec<Option<Arc<Packing>>>,
}

impl BatchShape {
    /// For a model of these time axes, in the order in which it made them; `None` for one that nothing needs.
    ///
    /// # Errors
    /// [`Error::Shape`] if a packing has another number of sequences.
    pub fn new(sequences: usize, packings: Vec<Option<Arc<Packing>>>) -> Result<Self> {
        let mut given = packings.iter().flatten();
        if let Some(packing) = given.find(|packing| packing.batch() != sequences) {
            let what = "sequences of a time axis";
            return Err(Error::shape(what, sequences, packing.batch()));
        }
        Ok(Self {
            sequences,
            packings,
        })
    }

    /// Of a model with one time axis.
    pub fn of(packing: &Arc<Packing>) -> Self {
        Self {
            sequences: packing.batch(),
            packings: vec![Some(packing.clone())],
        }
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// The timesteps of a time axis.
    ///
    /// # Errors
    /// [`Error::State`] if the batch has none on it.
    pub fn packing(&self, axis: TimeAxis) -> Result<&Arc<Packing>> {
        let packing = self.packings.get(axis.0).and_then(Option::as_ref);
        packing.ok_or(Error::State(
            "a batch has no timesteps on a time axis that is needed",
        ))
    }

    /// Timesteps of all time axes together.
    pub fn tokens(&self) -> usize {
        let packings = self.packings.iter().flatten();
        packings.map(|packing| packing.tokens()).sum()
    }

    /// How many rows these are.
    ///
    /// # Errors
    /// As [`packing`](Self::packing); [`Error::Overflow`].
    pub fn rows(&self, rows: Rows) -> Result<usize> {
        match rows {
            Rows::One => Ok(1),
            Rows::Sequences => Ok(self.sequences),
            Rows::States(blocks) => checked_product("states", &[blocks, self.sequences]),
            Rows::Steps(axis) => Ok(self.packing(axis)?.tokens()),
        }
    }

    /// How many elements a node of this shape has.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn elements(&self, shape: NodeShape) -> Result<usize> {
        checked_product("rows of a node", &[self.rows(shape.rows)?, shape.width])
    }
}

/// A parameter that a layer asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSpec {
    /// Its name within the layer, such as `weight`.
    pub name: String,
    /// One or more sizes, row-major.
    pub shape: Vec<usize>,
    /// How it begins.
    pub initial: ParameterInitial,
    /// Whether it never changes, such as the weights of classes in a loss.
    pub is_constant: bool,
}

impl ParameterSpec {
    /// A parameter of this name and shape.
    pub fn new(name: impl Into<String>, shape: &[usize], initial: ParameterInitial) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            initial,
            is_constant: false,
        }
    }

    /// Numbers that training leaves alone.
    pub fn constant(name: impl Into<String>, values: &[f32]) -> Self {
        let initial = ParameterInitial::Values(values.into());
        Self {
            is_constant: true,
            ..Self::new(name, &[values.len()], initial)
        }
    }
}

/// A parameter in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterPlace {
    /// Its values.
    pub value: Region,
    /// Where its gradient goes; `None` where nobody wants it.
    pub gradient: Option<GradientPlace>,
}

/// Where a parameter's gradient goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradientPlace {
    /// As many elements as the parameter has.
    pub region: Region,
    /// Whether the gradient is added to what is there: another use of the same parameter has left its own.
    pub accumulate: bool,
}

/// A node's values in a program, as a layer finds them.
#[derive(Debug, Clone, Copy)]
pub struct InputPlace {
    /// `[rows, width]`
    pub region: Region,
    /// What it is.
    pub shape: NodeShape,
    /// Whether its gradient is wanted.
    pub wants_gradient: bool,
    /// Whether the layer may change it in place: nothing else reads it.
    pub is_disposable: bool,
}

/// What becomes of a layer's output.
#[derive(Debug, Clone, Copy)]
pub struct OutputUse {
    /// Whether something reads it.
    pub is_read: bool,
    /// Whether a gradient of it will come.
    pub has_gradient: bool,
    /// Whether the host reads it.
    pub is_result: bool,
}

/// What a layer's forward is pushed with.
#[derive(Debug)]
pub struct ForwardPlaces<'a> {
    /// Where the operations go.
    pub program: &'a mut Program,
    /// The batch's shape.
    pub batch: &'a BatchShape,
    /// Mode, chunks, storage and what else a recurrent layer is told.
    pub options: &'a NetworkOptions,
    /// The layer's parameters, as it asked for them.
    pub parameters: &'a [ParameterPlace],
    /// Its inputs.
    pub inputs: &'a [InputPlace],
    /// What becomes of its outputs.
    pub outputs: &'a [OutputUse],
}

impl ForwardPlaces<'_> {
    /// Whether dropout and zoneout draw.
    pub fn is_training(&self) -> bool {
        self.options.mode == Mode::Training
    }

    /// Whether the program has a backward section.
    pub fn has_backward(&self) -> bool {
        self.options.gradients.is_some()
    }

    /// How many rows these are.
    ///
    /// # Errors
    /// As [`BatchShape::rows`].
    pub fn rows(&self, rows: Rows) -> Result<usize> {
        self.batch.rows(rows)
    }

    /// A new buffer for an output's values.
    ///
    /// # Errors
    /// As [`BatchShape::elements`].
    pub fn output_buffer(
        &mut self,
        output: usize,
        label: &'static str,
        shape: NodeShape,
    ) -> Result<BufferId> {
        if !self
            .outputs
            .get(output)
            .is_some_and(|output| output.is_result)
        {
            return self.buffer(label, shape);
        }
        let len = self.batch.elements(shape)?;
        Ok(self.program.buffer(label, len, Role::Output))
    }

    /// A new buffer for values that the backward needs, or the layer alone.
    ///
    /// # Errors
    /// As [`BatchShape::elements`].
    pub fn buffer(&mut self, label: &'static str, shape: NodeShape) -> Result<BufferId> {
        let len = self.batch.elements(shape)?;
        let role = match self.has_backward() {
            true => Role::Activation,
            false => Role::Workspace,
        };
        Ok(self.program.buffer(label, len, role))
    }
}

/// A layer in a program: its forward has been pushed.
pub trait PushedLayer: Debug {
    /// Where each output is, `[rows, width]`. One that nothing reads may be anywhere.
    fn outputs(&self) -> Vec<Region>;

    /// Whether the one layer that reads an output may change it in place: neither the backward nor another output needs it.
    fn is_disposable(&self, output: usize) -> bool {
        let _ = output;
        false
    }

    /// Whether an output is an input itself, changed in place or not: then it is as disposable as that.
    fn is_alias(&self, output: usize) -> bool {
        let _ = output;
        false
    }

    /// Where the layer wants an output's gradient, if it has a place of its own.
    fn gradient_place(&self, output: usize) -> Option<Region> {
        let _ = output;
        None
    }

    /// The states that go from one run to the next.
    fn carried(&self) -> Vec<Carried> {
        Vec::new()
    }

    /// Pushes the backward: from the gradients of the outputs to those of the inputs and the parameters.
    ///
    /// # Errors
    /// The layer's own.
    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()>;
}

/// States that go from one run to the next: two buffers of a program that are bound to one of the device,
/// `[blocks, sequences, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Read by a run.
    pub from: BufferId,
    /// Written by it, once what it read is not needed any more.
    pub to: BufferId,
    /// Rows for each sequence.
    pub blocks: usize,
    /// Elements of a row.
    pub width: usize,
}

/// The gradient of a node in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gradient {
    /// `[rows, width]`
    pub region: Region,
    /// Whether nothing else reads it, so that it may be changed in place.
    pub is_owned: bool,
}

impl Gradient {
    /// The same, for one of several readers.
    pub fn shared(self) -> Self {
        Self {
            is_owned: false,
            ..self
        }
    }
}

/// Where the gradient of an input is collected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collected {
    /// The node's number in the table of gradients; `None` where nobody wants it.
    pub(crate) node: Option<usize>,
    pub(crate) len: usize,
    /// Where the layer that makes the node wants it.
    pub(crate) place: Option<Region>,
}

/// What a layer's backward is pushed with.
#[derive(Debug)]
pub struct BackwardPlaces<'a> {
    /// Where the operations go.
    pub program: &'a mut Program,
    outputs: Vec<Option<Gradient>>,
    inputs: Vec<Collected>,
    /// Of all nodes.
    gradients: &'a mut [Option<Gradient>],
    /// What is to be added to which node's gradient once the layer is through.
    late: Vec<(usize, Region)>,
    loss_weight: f32,
}

impl<'a> BackwardPlaces<'a> {
    pub(crate) fn new(
        program: &'a mut Program,
        outputs: Vec<Option<Gradient>>,
        inputs: Vec<Collected>,
        gradients: &'a mut [Option<Gradient>],
    ) -> Self {
        Self {
            program,
            outputs,
            inputs,
            gradients,
            late: Vec::new(),
            loss_weight: 0.0,
        }
    }

    pub(crate) fn set_loss_weight(&mut self, weight: f32) {
        self.loss_weight = weight;
    }

    /// The gradient of an output; `None` where there is none, which counts as zeros.
    pub fn output(&self, output: usize) -> Option<Gradient> {
        self.outputs.get(output).copied().flatten()
    }

    /// What a loss is multiplied by before it is minimised.
    pub fn loss_weight(&self) -> f32 {
        self.loss_weight
    }

    /// Where the layer has to write the whole gradient of an input, `[rows, width]`; `None` where nobody wants it.
    pub fn target(&mut self, input: usize) -> Option<Region> {
        let collected = *self.inputs.get(input)?;
        let node = collected.node?;
        if self.gradients[node].is_some() {
            let part = self.new_buffer("d_part", collected.len);
            self.late.push((node, part));
            return Some(part);
        }
        let region = match collected.place {
            Some(place) => place,
            None => self.new_buffer("d_rows_of_node", collected.len),
        };
        self.gradients[node] = Some(Gradient {
            region,
            is_owned: true,
        });
        Some(region)
    }

    /// Hands over the gradient of an input that lies in a place of the layer's own, where nothing else reads it.
    pub fn give(&mut self, input: usize, region: Region) {
        let gradient = Gradient {
            region,
            is_owned: true,
        };
        self.pass(input, gradient);
    }

    /// Says that the gradient of an input is what lies there. An output's gradient that is passed to several inputs is owned by none
    /// of them: see [`Gradient::shared`].
    pub fn pass(&mut self, input: usize, gradient: Gradient) {
        let Gradient { region, is_owned } = gradient;
        let Some(&collected) = self.inputs.get(input) else {
            return;
        };
        let Some(node) = collected.node else {
            return;
        };
        match (self.gradients[node], collected.place) {
            (None, None) => self.gradients[node] = Some(Gradient { region, is_owned }),
            (None, Some(place)) if place == region => {
                self.gradients[node] = Some(Gradient {
                    region,
                    is_owned: true,
                });
            }
            (None, Some(place)) => {
                self.push_elementwise(ElementwiseKind::Copy, region, place, collected.len);
                self.gradients[node] = Some(Gradient {
                    region: place,
                    is_owned: true,
                });
            }
            (Some(_), _) => self.late.push((node, region)),
        }
    }

    /// A new buffer that no run hands on to the next.
    pub fn new_buffer(&mut self, label: &'static str, len: usize) -> Region {
        self.program.buffer(label, len, Role::Workspace).into()
    }

    /// Adds what came beside the first gradient of a node.
    pub(crate) fn finish(&mut self, len_of: impl Fn(usize) -> Result<usize>) -> Result<()> {
        for (node, part) in std::mem::take(&mut self.late) {
            let len = len_of(node)?;
            let Some(gradient) = self.gradients[node] else {
                return Err(Error::State("a gradient is added to none"));
            };
            let sum = match gradient.is_owned {
                true => gradient.region,
                false => {
                    // Others read what was lent: the sum is elsewhere.
                    let sum = self.new_buffer("d_sum", len);
                    self.push_elementwise(ElementwiseKind::Copy, gradient.region, sum, len);
                    sum
                }
            };
            self.push_elementwise(ElementwiseKind::Accumulate, part, sum, len);
            self.gradients[node] = Some(Gradient {
                region: sum,
                is_owned: true,
            });
        }
        Ok(())
    }

    fn push_elementwise(&mut self, kind: ElementwiseKind, a: Region, target: Region, len: usize) {
        let operation = Elementwise {
            kind,
            a,
            b: None,
            target,
            len,
        };
        self.program.push(Section::Backward, operation);
    }
}

/// What a layer's plain computation in double precision is given: see [`Layer::reference`].
#[derive(Debug)]
pub struct ReferenceInputs<'a> {
    /// The batch's shape.
    pub batch: &'a BatchShape,
    /// Whether dropout and zoneout draw.
    pub mode: Mode,
    /// What they draw from.
    pub seed: u64,
    /// The layer's parameters, as it asked for them.
    pub parameters: Vec<&'a [f64]>,
    /// The values of its inputs, `[rows, width]`.
    pub inputs: Vec<&'a [f64]>,
    /// What they are.
    pub shapes: Vec<NodeShape>,
}

/// A layer of a model. The crate's own are written against this trait; so can one of yours be: it pushes its forward and its
/// backward as [operations](crate::ops), and a [graph](crate::model::Graph::layer) takes it like any other.
///
/// ```
/// use std::sync::Arc;
/// use wgpu_rnn::cpu::CpuDevice;
/// use wgpu_rnn::model::{Batch, Graph, GradientCheckOptions};
/// use wgpu_rnn::nn::{
///     BackwardPlaces, ForwardPlaces, Layer, NodeShape, PushedLayer, ReferenceInputs, Rows,
///     expect_inputs,
/// };
/// use wgpu_rnn::ops::{Elementwise, ElementwiseKind, PointwiseLossKind, Region, Section};
/// use wgpu_rnn::{Activation, Result};
///
/// /// `x * sigmoid(x)` (Ramachandran et al. 2017).
/// #[derive(Debug)]
/// struct Swish;
///
/// #[derive(Debug)]
/// struct PushedSwish { x: Region, sigmoid: Region, y: Region, len: usize }
///
/// const SIGMOID: Activation = Activation::Sigmoid;
///
/// impl Layer for Swish {
///     fn kind(&self) -> &'static str { "swish" }
///     fn settings(&self) -> String { String::new() }
///     fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
///         let [x] = expect_inputs(self.kind(), inputs)?;
///         Ok(vec![*x])
///     }
///     fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
///         let (x, shape) = (places.inputs[0].region, places.inputs[0].shape);
///         let len = places.batch.elements(shape)?;
///         let sigmoid = Region::from(places.buffer("sigmoid", shape)?);
///         let y = Region::from(places.output_buffer(0, "swish", shape)?);
///         for (kind, b, target) in [
///             (ElementwiseKind::Activate(SIGMOID), None, sigmoid),
///             (ElementwiseKind::Multiply, Some(sigmoid), y),
///         ] {
///             places.program.push(Section::Forward, Elementwise { kind, a: x, b, target, len });
///         }
///         Ok(Box::new(PushedSwish { x, sigmoid, y, len }))
///     }
///     fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
///         let swish = |x: &f64| x / (1.0 + (-x).exp());
///         Ok(vec![inputs.inputs[0].iter().map(swish).collect()])
///     }
/// }
///
/// impl PushedLayer for PushedSwish {
///     fn outputs(&self) -> Vec<Region> { vec![self.y] }
///     /// `d_x = d_y sigmoid(x) + (d_y x) sigmoid'(x)`
///     fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
///         let Some(d_y) = places.output(0) else { return Ok(()) };
///         let Some(d_x) = places.target(0) else { return Ok(()) };
///         let PushedSwish { x, sigmoid, len, .. } = *self;
///         let part = places.new_buffer("d_sigmoid", len);
///         for (kind, a, b, target) in [
///             (ElementwiseKind::Multiply, d_y.region, Some(sigmoid), d_x),
///             (ElementwiseKind::Multiply, d_y.region, Some(x), part),
///             (ElementwiseKind::ActivateBackward(SIGMOID), x, Some(part), part),
///             (ElementwiseKind::Accumulate, part, None, d_x),
///         ] {
///             places.program.push(Section::Backward, Elementwise { kind, a, b, target, len });
///         }
///         Ok(())
///     }
/// }
///
/// let mut graph = Graph::new();
/// let x = graph.input("x", Rows::Sequences, 3)?;
/// let hidden = graph.linear("hidden", x, 4)?;
/// let hidden = graph.layer("swish", Arc::new(Swish), &[hidden])?[0];
/// let y = graph.linear("y", hidden, 1)?;
/// let target = graph.input("target", Rows::Sequences, 1)?;
/// let loss = graph.loss(PointwiseLossKind::Squared, y, target)?;
/// graph.minimize(loss, 1.0)?;
/// let model = graph.build()?;
///
/// let batch = Batch::new().rows("x", vec![0.5, -1.0, 2.0]).rows("target", vec![1.0]);
/// let parameters = model.initial(1)?;
/// let options = GradientCheckOptions::default();
/// let report = model.check_gradients(&CpuDevice::new()?, &parameters, &batch, &options)?;
/// assert!(report.passes(), "{report}");
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
pub trait Layer: Debug + Send + Sync {
    /// What kind of layer it is, for people: `linear`.
    fn kind(&self) -> &'static str;

    /// Its settings in a few words, for people: `64 -> 1`.
    fn settings(&self) -> String;

    /// All its settings, so that one model can be told from another: two layers that compute something else of the same inputs and
    /// parameters differ in kind or here.
    fn fingerprint(&self) -> String {
        self.settings()
    }

    /// The parameters that it wants.
    fn parameters(&self) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// What it makes of inputs of these shapes.
    ///
    /// # Errors
    /// [`Error::Shape`] that says what it takes, and what came.
    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>>;

    /// Pushes the forward to [`Section::Forward`].
    ///
    /// # Errors
    /// The layer's own.
    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>>;

    /// Its outputs, computed by plain loops in double precision: what the gradient check differentiates.
    ///
    /// # Errors
    /// The layer's own; [`Error::State`] of a layer that has no such computation.
    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let _ = inputs;
        Err(Error::State("a layer without a reference computation"))
    }

    /// Whether it is a loss: its output is one number, which can be minimised, and which no other layer reads.
    fn is_loss(&self) -> bool {
        false
    }

    /// Whether it is there to let no gradient pass.
    fn stops_gradients(&self) -> bool {
        false
    }

    /// Whether the backward gives an input's gradient. Ids, targets and weights have none: what is trained can't lead to them.
    fn differentiates(&self, input: usize) -> bool {
        let _ = input;
        true
    }

    /// Checks values that the host gives for inputs which the layer reads without another layer between; `None` for the others.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Data`] that names the first bad one.
    fn check_values(&self, given: &[Option<&[f32]>]) -> Result<()> {
        let _ = given;
        Ok(())
    }

    /// The recurrent network that it is, if it is one.
    fn network(&self) -> Option<&RnnConfig> {
        None
    }

    /// Whether it has states that go from one run to the next: see [`PushedLayer::carried`].
    fn carries(&self) -> bool {
        false
    }
}

/// Refuses another number of inputs.
///
/// # Errors
/// [`Error::Shape`].
pub fn expect_inputs<'a, const N: usize>(
    kind: &str,
    inputs: &'a [NodeShape],
) -> Result<&'a [NodeShape; N]> {
    inputs
        .first_chunk()
        .filter(|_| inputs.len() == N)
        .ok_or_else(|| Error::shape(format!("inputs of a layer `{kind}`"), N, inputs.len()))
}
