//! Initial weights: orthogonal, Glorot's, He's, and the forget gate's bias, from a seed.
//!
//! They are found on the host, in double precision from one generator, so every device starts from the same.

use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::{Bias, Cell, Coupled, GruUpdate, RnnConfig};
use crate::error::{Error, Result, check_finite};
use crate::params::{ParameterEntry, ParameterKind, Parameters};

/// How the elements of a matrix `[outputs, inputs]` are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WeightInitial {
    /// PyTorch's default for recurrent layers: uniform in `±1 / sqrt(hidden)`; of another matrix, `±1 / sqrt(outputs)`.
    Uniform,
    /// Glorot and Bengio 2010: uniform in `±sqrt(6 / (inputs + outputs))`.
    XavierUniform,
    /// Glorot and Bengio 2010: normal with the variance `2 / (inputs + outputs)`.
    XavierNormal,
    /// He et al. 2015: uniform in `±sqrt(6 / inputs)`.
    KaimingUniform,
    /// He et al. 2015: normal with the variance `2 / inputs`.
    KaimingNormal,
    /// Saxe et al. 2014: rows (or, if there are more rows than columns, columns) of length 1 at right angles to each other,
    /// uniformly distributed among all such matrices.
    Orthogonal,
}

/// How a network's parameters begin. Matrices of several gates are drawn gate by gate, `[hidden, inputs]` each.
///
/// What is not named starts as it does least: biases and peepholes at 0, scales of normalisation at 1.
///
/// ```
/// use wgpu_rnn::{Initial, Parameters, RnnConfig};
/// let config = RnnConfig::lstm(3, 8).build()?;
/// let weights = Parameters::initial(&config, &Initial::default(), 42)?;
/// let bias = weights.get("bias_ih_l0").unwrap_or_default();
/// assert_eq!(bias[..8], [0.0; 8]);
/// assert_eq!(bias[8..16], [1.0; 8]); // the forget gate's
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Initial {
    /// Of `weight_ih`, and of a projection's weights.
    pub input: WeightInitial,
    /// Of `weight_hh`.
    pub recurrent: WeightInitial,
    /// The LSTM's bias of the forget gate (Gers et al. 2000; Jozefowicz et al. 2015): with 1 a cell remembers before it has
    /// learnt to. Other cells have no such gate and take no notice.
    pub forget_bias: f32,
    /// Gates of LSTM and GRU that remember up to so many steps from the start, in place of the forget gate's bias: see
    /// [`ParameterInitial::Chrono`].
    pub memory: Option<usize>,
}

impl Default for Initial {
    /// Glorot's uniform input weights, orthogonal recurrent ones, a forget gate's bias of 1.
    fn default() -> Self {
        Self {
            input: WeightInitial::XavierUniform,
            recurrent: WeightInitial::Orthogonal,
            forget_bias: 1.0,
            memory: None,
        }
    }
}

/// How one parameter of a model begins.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterInitial {
    /// All elements this number.
    Constant(f32),
    /// Uniform in plus and minus this bound.
    Uniform(f32),
    /// As many equal parts as there are numbers, each filled with its own: a recurrent layer's bias, gate by gate.
    Blocks(Vec<f32>),
    /// As many equal parts as there are signs. For each unit `b = ln(uniform(1, steps - 1))` is drawn, and each part's unit is `b`
    /// times the part's sign: gates that forget half of what they hold in 1 to `steps` steps (chrono initialisation, Tallec and
    /// Ollivier 2018).
    Chrono {
        /// Steps that the slowest units remember.
        steps: usize,
        /// Of each part: 1, -1, or 0 for one that begins at 0.
        signs: Vec<f32>,
    },
    /// A matrix `[rows, columns]` drawn in parts of `rows` rows each, such as a recurrent layer's gates.
    Matrix {
        /// How.
        weight: WeightInitial,
        /// Rows of a part.
        rows: usize,
    },
    /// These.
    Values(Arc<[f32]>),
}

impl ParameterInitial {
    /// Fills a parameter of this shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if it does not fit the shape, [`Error::Data`] for a number that is not finite.
    pub(crate) fn fill(
        &self,
        name: &str,
        shape: &[usize],
        seed: u64,
        values: &mut [f32],
    ) -> Result<()> {
        let misfit = |expected: String| {
            let what = format!("initial values of `{name}`");
            Err(Error::shape(what, expected, format!("{shape:?}")))
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream_of(name));
        match self {
            Self::Constant(value) => {
                check_finite("initial value", &[*value])?;
                values.fill(*value);
            }
            Self::Uniform(bound) => {
                if !(*bound > 0.0 && (2.0 * bound).is_finite()) {
                    let expected = "a bound greater than zero and finite";
                    return Err(Error::data("initial values", expected, bound));
                }
                values.fill_with(|| random.random_range(-bound..*bound));
            }
            Self::Blocks(blocks) => {
                check_finite("initial value", blocks)?;
                if blocks.is_empty() || !values.len().is_multiple_of(blocks.len()) {
                    return misfit(format!("a multiple of {} elements", blocks.len()));
                }
                let each = values.len() / blocks.len();
                for (part, value) in values.chunks_mut(each).zip(blocks) {
                    part.fill(*value);
                }
            }
            Self::Chrono { steps, signs } => {
                if signs.is_empty() || !values.len().is_multiple_of(signs.len()) {
                    return misfit(format!("a multiple of {} elements", signs.len()));
                }
                let units = values.len() / signs.len();
                let longest = (*steps as f32 - 1.0).max(2.0);
                for unit in 0..units {
                    let bias = random.random_range(1.0..longest).ln();
                    for (part, sign) in signs.iter().enumerate() {
                        values[part * units + unit] = sign * bias;
                    }
                }
            }
            Self::Matrix { weight, rows } => {
                let &[all, columns] = shape else {
                    return misfit("a matrix".to_owned());
                };
                if *rows == 0 || !all.is_multiple_of(*rows) {
                    return misfit(format!("a multiple of {rows} rows"));
                }
                for part in values.chunks_mut(rows * columns) {
                    draw(*weight, part, [*rows, columns], &mut random);
                }
            }
            Self::Values(given) => {
                check_finite("initial value", given)?;
                if given.len() != values.len() {
                    return misfit(format!("{} elements", given.len()));
                }
                values.copy_from_slice(given);
            }
        }
        Ok(())
    }
}

/// A stream of random numbers of each name (FNV-1a), so that a model's other parameters begin as they did when one is added.
fn stream_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Parameters {
    /// Parameters drawn as `initial` says. The same seed gives the same values for every device.
    ///
    /// # Errors
    /// [`Error::Option`] if the forget gate's bias is not finite, or not 0 where the LSTM has no bias or no forget gate of
    /// its own; [`Error::Overflow`] if the parameters do not fit a 32-bit index.
    pub fn initial(config: &RnnConfig, initial: &Initial, seed: u64) -> Result<Self> {
        initial.check(config)?;
        let mut parameters = Self::zeros(config)?;
        for entry in parameters.layout().clone().entries() {
            let range = entry.offset..entry.offset + entry.len();
            let values = &mut parameters.data_mut()[range];
            (initial.of(config, entry)).fill(&entry.name, &entry.shape, seed, values)?;
        }
        Ok(parameters)
    }
}

impl Initial {
    /// Refuses what a configuration cannot begin with.
    pub(crate) fn check(&self, config: &RnnConfig) -> Result<()> {
        let spec = config.spec();
        let refuse = |reason: &str| Err(Error::option("forget_bias", reason));
        if !self.forget_bias.is_finite() {
            return refuse("must be a finite number");
        }
        if self.forget_bias == 0.0 || spec.cell != Cell::Lstm {
            return Ok(());
        }
        if spec.bias == Bias::None {
            return refuse("must be 0 in a network without biases");
        }
        if spec.coupled == Some(Coupled::ForgetFromInput) {
            return refuse("must be 0 where the forget gate is one minus the input gate");
        }
        Ok(())
    }

    /// How a tensor of a network begins.
    pub(crate) fn of(&self, config: &RnnConfig, entry: &ParameterEntry) -> ParameterInitial {
        use ParameterKind as Kind;
        let hidden = config.hidden_size();
        let matrix = |weight, rows| match weight {
            WeightInitial::Uniform => ParameterInitial::Uniform(1.0 / (hidden as f32).sqrt()),
            _ => ParameterInitial::Matrix { weight, rows },
        };
        match entry.kind {
            Kind::WeightInput => matrix(self.input, hidden),
            Kind::WeightRecurrent => matrix(self.recurrent, hidden),
            Kind::WeightProjection => matrix(self.input, entry.shape[0]),
            Kind::NormInput | Kind::NormRecurrent | Kind::NormCellWeight | Kind::NormGates => {
                ParameterInitial::Constant(1.0)
            }
            // Gates are i, f, g, o or r, z, n.
            Kind::BiasInput => match (config.spec().cell, self.memory) {
                (Cell::Lstm, None) => {
                    ParameterInitial::Blocks(vec![0.0, self.forget_bias, 0.0, 0.0])
                }
                (Cell::Lstm, Some(steps)) => {
                    let signs = vec![-1.0, 1.0, 0.0, 0.0];
                    ParameterInitial::Chrono { steps, signs }
                }
                (Cell::Gru, Some(steps)) => {
                    let keeps_old = config.spec().update == GruUpdate::KeepOld;
                    let signs = vec![0.0, if keeps_old { 1.0 } else { -1.0 }, 0.0];
                    ParameterInitial::Chrono { steps, signs }
                }
                _ => ParameterInitial::Constant(0.0),
            },
            Kind::BiasRecurrent | Kind::BiasProjection | Kind::Peephole | Kind::NormCellBias => {
                ParameterInitial::Constant(0.0)
            }
        }
    }
}

/// How a tensor of a network begins in PyTorch.
pub(crate) fn pytorch(config: &RnnConfig, kind: ParameterKind) -> ParameterInitial {
    use ParameterKind as Kind;
    match kind {
        Kind::NormInput | Kind::NormRecurrent | Kind::NormCellWeight | Kind::NormGates => {
            ParameterInitial::Constant(1.0)
        }
        Kind::NormCellBias => ParameterInitial::Constant(0.0),
        _ => ParameterInitial::Uniform(1.0 / (config.hidden_size() as f32).sqrt()),
    }
}

/// Draws a matrix of so many rows and columns.
fn draw(
    kind: WeightInitial,
    values: &mut [f32],
    [rows, columns]: [usize; 2],
    random: &mut impl Rng,
) {
    let (inputs, outputs) = (columns as f64, rows as f64);
    let bound = match kind {
        WeightInitial::Uniform => Ok(1.0 / outputs.sqrt()),
        WeightInitial::XavierUniform => Ok((6.0 / (inputs + outputs)).sqrt()),
        WeightInitial::KaimingUniform => Ok((6.0 / inputs).sqrt()),
        WeightInitial::XavierNormal => Err((2.0 / (inputs + outputs)).sqrt()),
        WeightInitial::KaimingNormal => Err((2.0 / inputs).sqrt()),
        WeightInitial::Orthogonal => {
            let matrix = orthogonal([rows, columns], random);
            for (value, drawn) in values.iter_mut().zip(matrix) {
                *value = drawn as f32;
            }
            return;
        }
    };
    for value in values {
        *value = match bound {
            Ok(bound) => random.random_range(-bound..bound) as f32,
            Err(deviation) => (deviation * normal(random)) as f32,
        };
    }
}

/// A standard normal number by Marsaglia's polar method.
fn normal(random: &mut impl Rng) -> f64 {
    loop {
        let [x, y]: [f64; 2] = [(); 2].map(|()| random.random_range(-1.0..1.0));
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

/// A matrix `[rows, columns]` whose shorter side's vectors are orthonormal: normal vectors by Gram and Schmidt's process, each
/// orthogonalised twice, since once is not enough where it nearly lies among those before it.
fn orthogonal([rows, columns]: [usize; 2], random: &mut impl Rng) -> Vec<f64> {
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..len).map(|_| normal(random)).collect();
        for other in vectors.iter().chain(&vectors) {
            let along = dot(&vector, other);
            for (value, other) in vector.iter_mut().zip(other) {
                *value -= along * other;
            }
        }
        let length = dot(&vector, &vector).sqrt();
        // Nothing but rounding is left of it once in a blue moon: draw another.
        if length > 1e-6 {
            vectors.push(vector.iter().map(|value| value / length).collect());
        }
    }
    let element = |index: usize| {
        let (row, column) = (index / columns, index % columns);
        match rows <= columns {
            true => vectors[row][column],
            false => vectors[column][row],
        }
    };
    (0..rows * columns).map(element).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
