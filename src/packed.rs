//! Weights in the kernels' layout.
//!
//! The kernels want the gates of a unit side by side (one `vec4` load), the recurrent matrix once by input unit and once
//! by output unit, and biases merged. [`PackedLayout`] says where each part of one layer and direction lies;
//! [`PackingJobs`](crate::rnn::PackingJobs) are the copies between it and the flat parameters.
//!
//! | part | shape | what |
//! |---|---|---|
//! | `input` | `[I, H, slots]` | input weights |
//! | `input_bias` | `[H, slots]` | merged biases; of the reset-after GRU slot `q` is the recurrent candidate bias |
//! | `norm_input` | `[H, slots]` | scales of the normalised input products |
//! | `recurrent` | `[P, H, slots]` | recurrent weights by input unit |
//! | `second` | `[K, N]` | second product: projection `[H, P]`, reset-before candidate `[H, H]` |
//! | `vectors` | | `peephole` `[3, H]`, `norm_recurrent` `[H, slots]`, `norm_cell_weight` `[H]`, `norm_cell_bias` `[H]`, `norm_gates` `[H, slots]`, `gate_bias` `[H, slots]` (per-gate normalisation only), `projection_bias` `[P]` |
//! | `recurrent_transposed` | `[H, P, slots]` | recurrent weights by output unit |
//! | `second_transposed` | `[N, K]` | |
//!
//! Parts that a configuration does not have are empty, except that `input_bias` is always there (zeros).
//! Everything before `recurrent_transposed` is also the layout of the packed gradients.

use crate::config::{Cell, RnnConfig};
use crate::error::{Result, checked_product};

/// Where each part of the packed weights of one layer and direction lies; offsets in elements, multiples of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedLayout {
    /// Slots of a unit.
    pub slots: usize,
    /// Terms of the second product.
    pub second_inputs: usize,
    /// Results of the second product.
    pub second_outputs: usize,
    /// See the module's table.
    pub input: usize,
    /// See the module's table.
    pub input_bias: usize,
    /// See the module's table.
    pub norm_input: usize,
    /// See the module's table.
    pub recurrent: usize,
    /// See the module's table.
    pub second: usize,
    /// Start of the vectors.
    pub vectors: usize,
    /// See the module's table.
    pub peephole: usize,
    /// See the module's table.
    pub norm_recurrent: usize,
    /// See the module's table.
    pub norm_cell_weight: usize,
    /// See the module's table.
    pub norm_cell_bias: usize,
    /// See the module's table.
    pub norm_gates: usize,
    /// See the module's table.
    pub gate_bias: usize,
    /// See the module's table.
    pub projection_bias: usize,
    /// See the module's table.
    pub recurrent_transposed: usize,
    /// See the module's table.
    pub second_transposed: usize,
    len: usize,
}

impl PackedLayout {
    /// The layout of layer `layer`.
    ///
    /// # Errors
    /// [`crate::Error::Overflow`] if it does not fit.
    pub fn new(config: &RnnConfig, layer: usize) -> Result<Self> {
        let spec = config.spec();
        let (input, hidden) = (config.layer_input_size(layer), config.hidden_size());
        let (state, slots) = (config.state_size(), spec.slots());
        let units = hidden * slots;
        let when = |present: bool, len: usize| if present { len } else { 0 };
        let (second_inputs, second_outputs) = match (spec.has_second_product(), spec.projection) {
            (false, _) => (0, 0),
            (true, Some(projection)) => (hidden, projection.size),
            (true, None) => (hidden, hidden),
        };
        let (whole, per_gate) = (spec.is_whole_norm(), spec.is_per_gate_norm());
        let cell_norm = whole && spec.cell == Cell::Lstm;
        let sizes = [
            checked_product("packed input weights", &[input, units])?,
            units,
            when(whole, units),
            checked_product("packed recurrent weights", &[state, units])?,
            checked_product("packed second weights", &[second_inputs, second_outputs])?,
            when(spec.peephole.is_some(), 3 * hidden),
            when(whole, units),
            when(cell_norm, hidden),
            when(cell_norm, hidden),
            when(per_gate, units),
            when(per_gate, units),
            when(spec.projection.is_some_and(|p| p.bias), state),
            state * units,
            second_inputs * second_outputs,
        ];
        let mut at = 0;
        let mut offsets = [0; 14];
        for (offset, size) in offsets.iter_mut().zip(sizes) {
            *offset = at;
            at += size.next_multiple_of(4);
        }
        checked_product("packed weights of a layer", &[at, config.directions()])?;
        Ok(Self {
            slots,
            second_inputs,
            second_outputs,
            input: offsets[0],
            input_bias: offsets[1],
            norm_input: offsets[2],
            recurrent: offsets[3],
            second: offsets[4],
            vectors: offsets[5],
            peephole: offsets[5],
            norm_recurrent: offsets[6],
            norm_cell_weight: offsets[7],
            norm_cell_bias: offsets[8],
            norm_gates: offsets[9],
            gate_bias: offsets[10],
            projection_bias: offsets[11],
            recurrent_transposed: offsets[12],
            second_transposed: offsets[13],
            len: at,
        })
    }

    /// Elements of one direction.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing; never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements of one direction's packed gradients.
    pub fn gradient_len(&self) -> usize {
        self.recurrent_transposed
    }

    /// Elements of the vectors.
    pub fn vectors_len(&self) -> usize {
        self.recurrent_transposed - self.vectors
    }
}
