//! What network: the cell, its variants, sizes, layers and direction, checked when built.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, checked_product};

/// The recurrent cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cell {
    /// `h' = act(W x + U h + b)` (Elman 1990).
    Elman,
    /// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).
    Lstm,
    /// Gated recurrent unit (Cho et al. 2014); see [`GruReset`] for its two forms.
    Gru,
}

/// Where the GRU's reset gate acts. The two forms are different functions: weights do not convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GruReset {
    /// `n = tanh(W x + b_x + r * (U h + b_h))`: PyTorch, cuDNN, Keras (`reset_after=True`).
    #[default]
    After,
    /// `n = tanh(W x + U (r * h) + b)`: Cho et al. 2014, ONNX with `linear_before_reset=0`.
    Before,
}

/// Which state the GRU's update gate `z` lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GruUpdate {
    /// `h' = z * h + (1 - z) * n`: PyTorch, ONNX, Keras.
    #[default]
    KeepOld,
    /// `h' = (1 - z) * h + z * n`: Cho et al. 2014 as usually printed.
    TakeNew,
}

/// Which cell state the LSTM's output gate sees through its peephole; `i` and `f` always see the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peephole {
    /// The new cell state: Gers et al. 2002, ONNX, TensorFlow Lite.
    New,
    /// The old cell state: the WebNN specification.
    Old,
}

/// Coupled input and forget gates (Greff et al. 2017). The unused gate's weights are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coupled {
    /// `f = 1 - i`: ONNX Runtime's `input_forget`.
    ForgetFromInput,
    /// `i = 1 - f`: TensorFlow Lite.
    InputFromForget,
}

/// The LSTM's output projection (Sak et al. 2014): the hidden state has `size` units, the cell state `hidden`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// Width of the projected hidden state.
    pub size: usize,
    /// Whether the projection has a bias of its own.
    pub bias: bool,
}

/// Layer normalisation inside the cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Which published form.
    pub kind: LayerNormKind,
    /// Added to the variance.
    pub epsilon: f64,
}

/// The published forms of layer normalisation inside a recurrent cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerNormKind {
    /// `W x` and `U h` are normalised separately, each over all gates, scaled, then added to the bias; the LSTM
    /// also normalises `c` before its output activation (Ba et al. 2016, as the haste library has it).
    WholeThenSum,
    /// LSTM only: each gate's sum (peephole included) is normalised over the hidden units and scaled, then the bias
    /// is added (TensorFlow Lite, NNAPI).
    PerGate,
}

/// Zoneout (Krueger et al. 2017): with this probability a unit keeps its old value. In evaluation the expectation
/// is used: `p * old + (1 - p) * new`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zoneout {
    /// Probability for the hidden state.
    pub hidden: f32,
    /// Probability for the LSTM's cell state.
    pub cell: f32,
}

/// Dropout; all of it is off in evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Between layers, a new mask for every timestep, as in PyTorch: not after the last layer.
    pub between: f32,
    /// On the input of every layer, one mask for all timesteps of a sequence (Gal and Ghahramani 2016).
    pub input: f32,
    /// On the hidden state that enters the recurrent product, one mask for all timesteps of a sequence.
    pub recurrent: f32,
}

/// Whether zoneout draws or takes the expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropout off, zoneout's expectation.
    Evaluation,
    /// Dropout and zoneout drawn from the seed.
    Training,
}

/// Bias vectors of each gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// None.
    None,
    /// One, on the input side.
    One,
    /// One on the input side and one on the recurrent side, as in PyTorch, cuDNN and ONNX.
    #[default]
    Two,
}

/// In which direction(s) of time a layer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the first step to the last.
    #[default]
    Forward,
    /// From each sequence's last step to its first.
    Reverse,
    /// Both, outputs concatenated.
    BidirectionalConcat,
    /// Both, outputs added.
    BidirectionalSum,
}

impl Direction {
    /// Number of directions: 1 or 2.
    pub fn count(self) -> usize {
        match self {
            Self::Forward | Self::Reverse => 1,
            Self::BidirectionalConcat | Self::BidirectionalSum => 2,
        }
    }

    /// Whether direction `index` runs backwards in time.
    pub fn is_reverse(self, index: usize) -> bool {
        self == Self::Reverse || index == 1
    }
}

/// A pointwise activation, with ONNX's meaning of `alpha` and `beta`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `max(x, 0)`; its derivative at 0 is 0.
    Relu,
    /// `x`
    Linear,
    /// `alpha * x + beta`
    Affine {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x` if `x >= 0`, else `alpha * x`
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x` if `x >= alpha`, else 0
    ThresholdedRelu {
        /// Threshold.
        alpha: f32,
    },
    /// `alpha * tanh(beta * x)`
    ScaledTanh {
        /// Outer factor.
        alpha: f32,
        /// Inner factor.
        beta: f32,
    },
    /// `clamp(alpha * x + beta, 0, 1)`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x` if `x >= 0`, else `alpha * (exp(x) - 1)`
    Elu {
        /// Depth below zero.
        alpha: f32,
    },
    /// `x / (1 + |x|)`
    Softsign,
    /// `ln(1 + exp(x))`
    Softplus,
}

impl Activation {
    /// The kernels' number for this activation, with its two parameters (0 where it has none).
    pub fn code(self) -> (u32, f32, f32) {
        match self {
            Self::Sigmoid => (0, 0.0, 0.0),
            Self::Tanh => (1, 0.0, 0.0),
            Self::Relu => (2, 0.0, 0.0),
            Self::Linear => (3, 0.0, 0.0),
            Self::Affine { alpha, beta } => (4, alpha, beta),
            Self::LeakyRelu { alpha } => (5, alpha, 0.0),
            Self::ThresholdedRelu { alpha } => (6, alpha, 0.0),
            Self::ScaledTanh { alpha, beta } => (7, alpha, beta),
            Self::HardSigmoid { alpha, beta } => (8, alpha, beta),
            Self::Elu { alpha } => (9, alpha, 0.0),
            Self::Softsign => (10, 0.0, 0.0),
            Self::Softplus => (11, 0.0, 0.0),
        }
    }

    /// Its parameters have to be finite.
    pub(crate) fn validate(self) -> Result<()> {
        let (_, alpha, beta) = self.code();
        match alpha.is_finite() && beta.is_finite() {
            true => Ok(()),
            false => Err(Error::option(
                "activations",
                format!("{self:?}: alpha and beta must be finite"),
            )),
        }
    }
}

/// The activations of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activations {
    /// Of the gates (`i f o`, `r z`); not used by the Elman cell.
    pub gate: Activation,
    /// Of the candidate (`g`, `n`), and the Elman cell's only one.
    pub candidate: Activation,
    /// Of the cell state on its way to the LSTM's output.
    pub hidden: Activation,
}

impl Default for Activations {
    fn default() -> Self {
        Self {
            gate: Activation::Sigmoid,
            candidate: Activation::Tanh,
            hidden: Activation::Tanh,
        }
    }
}

/// Bounds inside the cell; the derivative passes where the value is within the bound, the bound itself included.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Bounds every pre-activation to `[-c, c]` (ONNX `clip`).
    pub gates: Option<f32>,
    /// Bounds the LSTM's new cell state.
    pub cell: Option<f32>,
    /// Bounds the cell state on its way into the output activation only.
    pub hidden: Option<f32>,
    /// Bounds the projected hidden state.
    pub projection: Option<f32>,
}

/// Everything that shapes one step of one layer; shared by all layers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSpec {
    /// Which cell.
    pub cell: Cell,
    /// GRU: where the reset gate acts.
    pub reset: GruReset,
    /// GRU: what the update gate means.
    pub update: GruUpdate,
    /// LSTM: peephole connections.
    pub peephole: Option<Peephole>,
    /// LSTM: coupled gates.
    pub coupled: Option<Coupled>,
    /// LSTM: output projection.
    pub projection: Option<Projection>,
    /// Bounds.
    pub clip: Clip,
    /// Layer normalisation inside the cell.
    pub layer_norm: Option<LayerNorm>,
    /// Zoneout.
    pub zoneout: Zoneout,
    /// Bias vectors.
    pub bias: Bias,
    /// Activations of each direction.
    pub activations: [Activations; 2],
}

impl CellSpec {
    /// Gates with weights of their own: 1, 4 (`i f g o`) or 3 (`r z n`), in PyTorch's order.
    pub fn gates(&self) -> usize {
        match self.cell {
            Cell::Elman => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// Values a unit stores per step, the components of the kernels' `Gates`: 1, 4 (`i f g o`) or 4 (`r z n q`, where
    /// `q` is the reset-after candidate's recurrent half `U h + b_h`; unused with reset before).
    pub fn slots(&self) -> usize {
        match self.cell {
            Cell::Elman => 1,
            Cell::Lstm | Cell::Gru => 4,
        }
    }

    /// Whether the step's recurrent products are normalised apart from the input's.
    pub fn is_whole_norm(&self) -> bool {
        matches!(self.layer_norm, Some(norm) if norm.kind == LayerNormKind::WholeThenSum)
    }

    /// Whether each gate's sum is normalised by itself.
    pub fn is_per_gate_norm(&self) -> bool {
        matches!(self.layer_norm, Some(norm) if norm.kind == LayerNormKind::PerGate)
    }

    /// Whether the step has a second matrix product: the projection, or the reset-before candidate.
    pub fn has_second_product(&self) -> bool {
        self.projection.is_some() || (self.cell == Cell::Gru && self.reset == GruReset::Before)
    }
}

/// A checked network configuration; built by [`RnnConfig::elman`], [`RnnConfig::lstm`] or [`RnnConfig::gru`].
///
/// ```
/// use wgpu_rnn::{Direction, RnnConfig};
/// let config = RnnConfig::lstm(64, 128).layers(2).direction(Direction::BidirectionalConcat).build()?;
/// assert_eq!(config.output_size(), 256);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct RnnConfig {
    input: usize,
    hidden: usize,
    layers: usize,
    direction: Direction,
    residual: bool,
    dropout: Dropout,
    spec: CellSpec,
}

/// A configuration as a file has it: it goes through the builder's checks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    input: usize,
    hidden: usize,
    layers: usize,
    direction: Direction,
    residual: bool,
    dropout: Dropout,
    spec: CellSpec,
}

impl TryFrom<Unchecked> for RnnConfig {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        RnnConfigBuilder(Self {
            input: unchecked.input,
            hidden: unchecked.hidden,
            layers: unchecked.layers,
            direction: unchecked.direction,
            residual: unchecked.residual,
            dropout: unchecked.dropout,
            spec: unchecked.spec,
        })
        .build()
    }
}

impl RnnConfig {
    /// An Elman network with `tanh`; see [`RnnConfigBuilder::activations`] for others.
    pub fn elman(input: usize, hidden: usize) -> RnnConfigBuilder {
        RnnConfigBuilder::new(Cell::Elman, input, hidden)
    }

    /// An LSTM network.
    pub fn lstm(input: usize, hidden: usize) -> RnnConfigBuilder {
        RnnConfigBuilder::new(Cell::Lstm, input, hidden)
    }

    /// A GRU network, reset after the product by default.
    pub fn gru(input: usize, hidden: usize) -> RnnConfigBuilder {
        RnnConfigBuilder::new(Cell::Gru, input, hidden)
    }

    /// Features of the network's input.
    pub fn input_size(&self) -> usize {
        self.input
    }

    /// Hidden units of a direction; the width of the cell state.
    pub fn hidden_size(&self) -> usize {
        self.hidden
    }

    /// Width of the hidden state of a direction: the projection's size, or the hidden size.
    pub fn state_size(&self) -> usize {
        self.spec.projection.map_or(self.hidden, |p| p.size)
    }

    /// Features of the network's output.
    pub fn output_size(&self) -> usize {
        match self.direction {
            Direction::BidirectionalConcat => 2 * self.state_size(),
            _ => self.state_size(),
        }
    }

    /// Features that enter layer `layer`.
    pub fn layer_input_size(&self, layer: usize) -> usize {
        if layer == 0 {
            self.input
        } else {
            self.output_size()
        }
    }

    /// Number of stacked layers.
    pub fn layer_count(&self) -> usize {
        self.layers
    }

    /// Direction of every layer.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Number of directions.
    pub fn directions(&self) -> usize {
        self.direction.count()
    }

    /// Whether layer `layer` adds its input to its output: residual networks do wherever the widths are equal.
    pub fn is_residual(&self, layer: usize) -> bool {
        self.residual && self.layer_input_size(layer) == self.output_size()
    }

    /// Dropout probabilities.
    pub fn dropout(&self) -> Dropout {
        self.dropout
    }

    /// What one step of a layer computes.
    pub fn spec(&self) -> &CellSpec {
        &self.spec
    }
}

/// Collects options; [`build`](Self::build) checks them.
#[derive(Debug, Clone)]
#[must_use]
pub struct RnnConfigBuilder(RnnConfig);

impl RnnConfigBuilder {
    fn new(cell: Cell, input: usize, hidden: usize) -> Self {
        Self(RnnConfig {
            input,
            hidden,
            layers: 1,
            direction: Direction::Forward,
            residual: false,
            dropout: Dropout::default(),
            spec: CellSpec {
                cell,
                reset: GruReset::After,
                update: GruUpdate::KeepOld,
                peephole: None,
                coupled: None,
                projection: None,
                clip: Clip::default(),
                layer_norm: None,
                zoneout: Zoneout::default(),
                bias: Bias::Two,
                activations: [Activations::default(); 2],
            },
        })
    }

    /// Number of stacked layers, 1 by default.
    pub fn layers(mut self, layers: usize) -> Self {
        self.0.layers = layers;
        self
    }

    /// Direction of every layer.
    pub fn direction(mut self, direction: Direction) -> Self {
        self.0.direction = direction;
        self
    }

    /// Adds a layer's input to its output wherever both have the same width.
    pub fn residual(mut self, residual: bool) -> Self {
        self.0.residual = residual;
        self
    }

    /// Bias vectors, [`Bias::Two`] by default.
    pub fn bias(mut self, bias: Bias) -> Self {
        self.0.spec.bias = bias;
        self
    }

    /// Activations of both directions.
    pub fn activations(self, activations: Activations) -> Self {
        self.activations_of_each([activations; 2])
    }

    /// Activations of the forward and of the reverse direction; a network of one direction uses the first.
    pub fn activations_of_each(mut self, activations: [Activations; 2]) -> Self {
        self.0.spec.activations = activations;
        self
    }

    /// GRU: where the reset gate acts.
    pub fn reset(mut self, reset: GruReset) -> Self {
        self.0.spec.reset = reset;
        self
    }

    /// GRU: what the update gate means.
    pub fn update(mut self, update: GruUpdate) -> Self {
        self.0.spec.update = update;
        self
    }

    /// LSTM: peephole connections.
    pub fn peephole(mut self, peephole: Peephole) -> Self {
        self.0.spec.peephole = Some(peephole);
        self
    }

    /// LSTM: coupled input and forget gates.
    pub fn coupled(mut self, coupled: Coupled) -> Self {
        self.0.spec.coupled = Some(coupled);
        self
    }

    /// LSTM: projects the hidden state to `size` units.
    pub fn projection(mut self, size: usize, bias: bool) -> Self {
        self.0.spec.projection = Some(Projection { size, bias });
        self
    }

    /// Bounds inside the cell.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.0.spec.clip = clip;
        self
    }

    /// Layer normalisation inside the cell.
    pub fn layer_norm(mut self, kind: LayerNormKind, epsilon: f64) -> Self {
        self.0.spec.layer_norm = Some(LayerNorm { kind, epsilon });
        self
    }

    /// Zoneout probabilities.
    pub fn zoneout(mut self, zoneout: Zoneout) -> Self {
        self.0.spec.zoneout = zoneout;
        self
    }

    /// Dropout probabilities.
    pub fn dropout(mut self, dropout: Dropout) -> Self {
        self.0.dropout = dropout;
        self
    }

    /// Checks every option and combination.
    ///
    /// # Errors
    /// [`Error::Option`] names the option that cannot be served; [`Error::Overflow`] a size that does not fit.
    pub fn build(self) -> Result<RnnConfig> {
        let config = self.0;
        config.check_sizes()?;
        config.check_cell_options()?;
        config.check_layer_norm()?;
        config.check_numbers()?;
        Ok(config)
    }
}

impl RnnConfig {
    /// Far above any use; what is built for each layer stays bounded.
    const MAX_LAYERS: usize = 1 << 16;

    fn check_sizes(&self) -> Result<()> {
        for (option, size) in [
            ("input", self.input),
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("projection", self.state_size()),
        ] {
            if size == 0 {
                return Err(Error::option(option, "must be greater than zero, got 0"));
            }
        }
        if self.layers > Self::MAX_LAYERS {
            return Err(Error::option(
                "layers",
                format!("at most {}, got {}", Self::MAX_LAYERS, self.layers),
            ));
        }
        let widest = self.input.max(2 * self.state_size().min(usize::MAX / 2));
        let slots = self.spec.slots();
        for columns in [widest, self.hidden] {
            checked_product(
                "weights of a layer",
                &[self.directions(), columns, self.hidden, slots],
            )?;
        }
        Ok(())
    }

    fn check_cell_options(&self) -> Result<()> {
        let spec = &self.spec;
        let lstm_only: [(&'static str, bool); 6] = [
            ("peephole", spec.peephole.is_some()),
            ("coupled", spec.coupled.is_some()),
            ("projection", spec.projection.is_some()),
            ("clip.cell", spec.clip.cell.is_some()),
            ("clip.hidden", spec.clip.hidden.is_some()),
            ("zoneout.cell", spec.zoneout.cell != 0.0),
        ];
        for (option, used) in lstm_only {
            if used && spec.cell != Cell::Lstm {
                return Err(Error::option(
                    option,
                    format!("only the LSTM has it, this is {:?}", spec.cell),
                ));
            }
        }
        if spec.clip.projection.is_some() && spec.projection.is_none() {
            return Err(Error::option("clip.projection", "needs `projection`"));
        }
        for (option, used) in [
            ("reset", spec.reset != GruReset::After),
            ("update", spec.update != GruUpdate::KeepOld),
        ] {
            if used && spec.cell != Cell::Gru {
                return Err(Error::option(
                    option,
                    format!("only the GRU has it, this is {:?}", spec.cell),
                ));
            }
        }
        Ok(())
    }

    fn check_layer_norm(&self) -> Result<()> {
        let Some(norm) = self.spec.layer_norm else {
            return Ok(());
        };
        // The devices compute in 32 bits: what rounds to zero there divides by zero.
        let epsilon = norm.epsilon as f32;
        if !(epsilon >= f32::MIN_POSITIVE && epsilon.is_finite()) {
            return Err(Error::option(
                "layer_norm.epsilon",
                format!(
                    "must be positive and finite as a 32-bit float, got {:e}",
                    norm.epsilon
                ),
            ));
        }
        let spec = &self.spec;
        let refuse = |with: &str| {
            Err(Error::option(
                "layer_norm",
                format!("{:?} is not defined together with {with}", norm.kind),
            ))
        };
        match (norm.kind, spec.cell) {
            (LayerNormKind::PerGate, Cell::Lstm) => Ok(()),
            (LayerNormKind::PerGate, _) | (_, Cell::Elman) => {
                refuse(&format!("the cell {:?}", spec.cell))
            }
            (LayerNormKind::WholeThenSum, _) if spec.reset == GruReset::Before => {
                refuse("`reset` before the product")
            }
            (LayerNormKind::WholeThenSum, _) if spec.peephole.is_some() => refuse("`peephole`"),
            (LayerNormKind::WholeThenSum, _) if spec.projection.is_some() => refuse("`projection`"),
            (LayerNormKind::WholeThenSum, _) if spec.coupled.is_some() => refuse("`coupled`"),
            (LayerNormKind::WholeThenSum, _) => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<()> {
        let spec = &self.spec;
        for (option, bound) in [
            ("clip.gates", spec.clip.gates),
            ("clip.cell", spec.clip.cell),
            ("clip.hidden", spec.clip.hidden),
            ("clip.projection", spec.clip.projection),
        ] {
            if let Some(bound) = bound
                && !(bound > 0.0 && bound.is_finite())
            {
                return Err(Error::option(
                    option,
                    format!("must be positive and finite, got {bound}"),
                ));
            }
        }
        for (option, probability) in [
            ("dropout.between", self.dropout.between),
            ("dropout.input", self.dropout.input),
            ("dropout.recurrent", self.dropout.recurrent),
            ("zoneout.hidden", spec.zoneout.hidden),
            ("zoneout.cell", spec.zoneout.cell),
        ] {
            if !(0.0..1.0).contains(&probability) {
                return Err(Error::option(
                    option,
                    format!("a probability must be in [0, 1), got {probability}"),
                ));
            }
        }
        for activations in spec.activations {
            for activation in [activations.gate, activations.candidate, activations.hidden] {
                activation.validate()?;
            }
        }
        Ok(())
    }
}
