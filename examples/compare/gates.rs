//! Gates that remember from the start.

use rand::{RngExt, SeedableRng};
use wgpu_rnn::config::Cell;
use wgpu_rnn::{ParameterKind, Parameters, RnnConfig};

/// Begins with gates that forget half of what they hold in 1 to `steps` steps, unit by unit (chrono initialisation, Tallec and
/// Ollivier 2018): a bias of `b = ln(uniform(1, steps - 1))` for the LSTM's forget gate and `-b` for its input gate, and `b`
/// for the GRU's update gate. An Elman cell has no gate; its orthogonal recurrent weights are what helps it to remember.
pub(crate) fn remember(rnn: &mut Parameters, config: &RnnConfig, (steps, seed): (usize, u64)) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let hidden = config.hidden_size();
    let longest = (steps as f32 - 1.0).max(2.0);
    let entries = rnn.layout().clone();
    let biases = entries.entries().iter();
    for entry in biases.filter(|entry| entry.kind == ParameterKind::BiasInput) {
        let gates = &mut rnn.data_mut()[entry.offset..entry.offset + entry.len()];
        for unit in 0..hidden {
            let bias = random.random_range(1.0..longest).ln();
            match config.spec().cell {
                // Gates are i, f, g, o.
                Cell::Lstm => (gates[unit], gates[hidden + unit]) = (-bias, bias),
                // Gates are r, z, n.
                Cell::Gru => gates[hidden + unit] = bias,
                _ => {}
            }
        }
    }
}
