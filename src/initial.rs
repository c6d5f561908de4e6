//! Initial weights: orthogonal, Glorot's, He's, and the forget gate's bias, from a seed.
//!
//! They are found on the host, in double precision from one generator, so every device starts from the same.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::{Bias, Cell, Coupled, RnnConfig};
use crate::error::{Error, Result};
use crate::params::{ParameterEntry, ParameterKind, Parameters};

/// How the elements of a matrix `[outputs, inputs]` are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WeightInitial {
    /// PyTorch's default for recurrent layers: uniform in `±1 / sqrt(hidden)`.
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
}

impl Default for Initial {
    /// Glorot's uniform input weights, orthogonal recurrent ones, a forget gate's bias of 1.
    fn default() -> Self {
        Self {
            input: WeightInitial::XavierUniform,
            recurrent: WeightInitial::Orthogonal,
            forget_bias: 1.0,
        }
    }
}

impl Parameters {
    /// Parameters drawn as `initial` says. The same seed gives the same values for every device.
    ///
    /// # Errors
    /// [`Error::Option`] if the forget gate's bias is not finite, or not 0 where the LSTM has no bias or no forget gate of
    /// its own; [`Error::Overflow`] if the parameters do not fit a 32-bit index.
    pub fn initial(config: &RnnConfig, initial: &Initial, seed: u64) -> Result<Self> {
        check_forget_bias(config, initial.forget_bias)?;
        let mut parameters = Self::zeros(config)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for entry in parameters.layout().clone().entries() {
            let range = entry.offset..entry.offset + entry.len();
            let values = &mut parameters.data_mut()[range];
            fill(config, initial, entry, values, &mut random);
        }
        Ok(parameters)
    }
}

fn check_forget_bias(config: &RnnConfig, bias: f32) -> Result<()> {
    let spec = config.spec();
    let refuse = |reason: &str| Err(Error::option("forget_bias", reason));
    if !bias.is_finite() {
        return refuse("must be a finite number");
    }
    if bias == 0.0 || spec.cell != Cell::Lstm {
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

fn fill(
    config: &RnnConfig,
    initial: &Initial,
    entry: &ParameterEntry,
    values: &mut [f32],
    random: &mut impl Rng,
) {
    use ParameterKind as Kind;
    let hidden = config.hidden_size();
    let columns = entry.shape.last().copied().unwrap_or(1);
    match entry.kind {
        Kind::WeightInput | Kind::WeightRecurrent => {
            let kind = match entry.kind {
                Kind::WeightInput => initial.input,
                _ => initial.recurrent,
            };
            for gate in values.chunks_mut(hidden * columns) {
                draw(kind, gate, [hidden, columns], hidden, random);
            }
        }
        Kind::WeightProjection => {
            let rows = entry.shape[0];
            draw(initial.input, values, [rows, columns], hidden, random);
        }
        Kind::NormInput | Kind::NormRecurrent | Kind::NormCellWeight | Kind::NormGates => {
            values.fill(1.0);
        }
        Kind::BiasInput if config.spec().cell == Cell::Lstm => {
            // Gates are i, f, g, o.
            values[hidden..2 * hidden].fill(initial.forget_bias);
        }
        Kind::BiasInput
        | Kind::BiasRecurrent
        | Kind::BiasProjection
        | Kind::Peephole
        | Kind::NormCellBias => values.fill(0.0),
    }
}

/// Draws a matrix of so many rows and columns.
fn draw(
    kind: WeightInitial,
    values: &mut [f32],
    [rows, columns]: [usize; 2],
    hidden: usize,
    random: &mut impl Rng,
) {
    let (inputs, outputs) = (columns as f64, rows as f64);
    let bound = match kind {
        WeightInitial::Uniform => Ok(1.0 / (hidden as f64).sqrt()),
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
