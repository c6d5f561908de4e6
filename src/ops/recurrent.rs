//! The recurrence of a layer, forward and backward.

use std::ops::Range;
use std::sync::Arc;

use crate::batch::Packing;
use crate::config::{CellSpec, Mode};
use crate::ops::{GatherRows, Gemm, MergeDirections, Region, TableOffset};
use crate::packed::PackedLayout;

/// The state rows of a layer. For each direction `h` holds `batch + tokens` rows of the state size: first the initial
/// state of each sorted sequence, then the state after each row in processing order; direction `d` starts at
/// `d * (batch + tokens) * size`. `c` likewise with the hidden size.
#[derive(Debug, Clone, Copy)]
pub struct StateRegions {
    /// `[directions, batch + tokens, state size]`
    pub h: Region,
    /// What enters the recurrent product: `h`, or with recurrent dropout `h * mask` in the same shape elsewhere.
    pub recurrent_input: Region,
    /// `[directions, batch, state size]`, with recurrent dropout.
    pub mask: Option<Region>,
    /// LSTM: `[directions, batch + tokens, hidden]`
    pub c: Option<Region>,
    /// What enters the second product: the LSTM's output before the projection, or the reset-before GRU's
    /// `r * recurrent_input`: `[directions, tokens, hidden]`
    pub second: Option<Region>,
}

/// All timesteps of a layer, both directions, or a chunk of them: the recurrent product and the cell.
///
/// In `gates` it finds the input projections (bias included, except with per-gate normalisation) of rows
/// `offsets[steps.start]..offsets[steps.end]` in processing order, `[directions, gate_rows, hidden, slots]`. It leaves there
/// what this device's backward needs: the *pre-activations* (projections plus recurrent products, with or without peephole
/// terms), or the gates themselves. (With [`LayerNormKind::WholeThenSum`](crate::LayerNormKind) `gates` stays as it is and
/// `recurrent_sums` holds the raw recurrent products.) The reset-before GRU's candidate slot includes its second product.
///
/// All regions of `states` lie in one buffer, and so do those of `running`.
///
/// With `running` the recurrence goes from step to step through states of their own in `f32`, and `states`, stored in less, is
/// what it keeps of them for the layer's output and a backward. Of `running`, `h`, `recurrent_input` and `c` hold two sets of
/// rows for each direction, `[directions, 2, batch, size]`: step `t` reads set `t % 2` and writes the other, so that a
/// sequence of `n` steps starts in set 0 and ends in set `n % 2`. The mask is there too, not in `states`. The CPU device
/// has no use for it and refuses.
#[derive(Debug, Clone)]
pub struct Recurrence {
    /// What a step computes.
    pub spec: CellSpec,
    /// Layer number, for random sites and labels.
    pub layer: usize,
    /// Hidden units.
    pub hidden: usize,
    /// State units.
    pub state: usize,
    /// Directions.
    pub directions: usize,
    /// Sequences.
    pub batch: usize,
    /// Rows of the whole batch.
    pub tokens: usize,
    /// Rows before each step, `steps + 1` words of the table; also in `offsets` for the host.
    pub offsets_table: TableOffset,
    /// The caller's index of each sorted sequence.
    pub order_table: TableOffset,
    /// Rows before each step of the whole batch.
    pub offsets: Arc<Packing>,
    /// Steps in processing order that this operation covers.
    pub steps: Range<usize>,
    /// `[directions, gate_rows, hidden, slots]`
    pub gates: Region,
    /// Rows of a direction in `gates` (and in `recurrent_sums`).
    pub gate_rows: usize,
    /// Row of the batch that lies in row 0 of `gates`.
    pub first_row: usize,
    /// With [`LayerNormKind::WholeThenSum`](crate::LayerNormKind): the raw recurrent products, shaped like `gates`.
    pub recurrent_sums: Option<Region>,
    /// States, read and written.
    pub states: StateRegions,
    /// Running states apart from `states`, read and written.
    pub running: Option<StateRegions>,
    /// The layer's packed weights, from a multiple of four elements on; direction `d` starts `d * layout.len()` further on.
    pub weights: Region,
    /// Where each part of the packed weights lies.
    pub layout: PackedLayout,
    /// Whether zoneout draws.
    pub mode: Mode,
    /// Whether a backward will want what is left in `gates`; without one they may hold anything.
    pub keeps_gates: bool,
}

impl Recurrence {
    /// Where the recurrent dropout's mask is, if there is one.
    pub fn mask(&self) -> Option<Region> {
        self.running.unwrap_or(self.states).mask
    }
}

/// The backward sweep of a [`Recurrence`] over the same steps, last step first.
///
/// `gates` holds what the forward left there, or what was `rebuilt`, and becomes the gradient of the
/// pre-activations, slot by slot: what the input projections' gradient is computed from. For the reset-after GRU slot `n`
/// is the input side's and slot `q` the recurrent side's. With whole-row normalisation `recurrent_sums` becomes the gradient of the
/// raw recurrent products; with per-gate normalisation `gates` becomes the gradient before normalisation. The
/// weight gradients are matrix products over these, not part of the sweep; the gradients of the packed *vectors* (peepholes, in-cell norm
/// scales and biases) are summed per sequence in `vector_sums`.
///
/// `output_gradient` holds each direction's rows in processing order; with a projection it becomes the gradient of the
/// projection's result (after its clip).
#[derive(Debug, Clone)]
pub struct RecurrentBackward {
    /// The forward operation.
    pub forward: Recurrence,
    /// Whether `gates` (and `recurrent_sums`) were computed anew by matrix products from the states, so that they hold the
    /// sums of projections and recurrent products, whatever the forward would have left.
    pub rebuilt: bool,
    /// `[directions, tokens, state size]`, changed if there is a projection.
    pub output_gradient: Region,
    /// `[directions, batch, state size]`: in, the gradient of each sequence's state after `steps` (of its final state for
    /// a sequence that ends within them); out, that of its state before `steps`.
    pub h_gradient: Region,
    /// LSTM: likewise for the cell state, `[directions, batch, hidden]`. In the same buffer as `h_gradient`.
    pub c_gradient: Option<Region>,
    /// Cells of several stages: `[2, directions, batch, hidden]` of scratch space in the same buffer.
    pub scratch: Option<Region>,
    /// With running states and recurrent dropout: the mask, as the forward had it, in the same buffer.
    pub mask: Option<Region>,
    /// `[directions, batch, layout.vectors_len()]`, added to; in the same buffer as `h_gradient`.
    pub vector_sums: Option<Region>,
}

/// Recurrences of layers that do not need each other's results: in any order, or at once.
///
/// A device that can do them at once gains where each alone leaves some of its cores idle. What one writes no other touches; in
/// the same buffers they may do so.
#[derive(Debug, Clone)]
pub struct RecurrentWave {
    /// A layer over some of its steps each.
    pub cells: Vec<Recurrence>,
}

/// Likewise their backward sweeps.
#[derive(Debug, Clone)]
pub struct RecurrentBackwardWave {
    /// A layer over some of its steps each.
    pub cells: Vec<RecurrentBackward>,
}

/// A layer of one forward direction over a batch of single steps, for inference: all that stands around its recurrence.
#[derive(Debug, Clone)]
pub struct LayerStep {
    /// The initial hidden states, in sorted order into the first rows of the states.
    pub first_h: GatherRows,
    /// LSTM: likewise the cell states.
    pub first_c: Option<GatherRows>,
    /// The input's product, into the gates.
    pub projection: Gemm,
    /// The one step.
    pub recurrence: Recurrence,
    /// The new states as rows of the layer's output; no residual.
    pub output: MergeDirections,
    /// The new states in the caller's order.
    pub last_h: GatherRows,
    /// LSTM: likewise the cell states.
    pub last_c: Option<GatherRows>,
}

/// Layers over a batch of single steps, the output of each the input of the next: what a stream runs for each of its steps.
/// It does what its [`parts`](Self::parts) do, except that a device which does several as one may leave alone the states
/// and gates in between and the outputs of all layers but the last, and so may one of these not read what another left
/// there.
#[derive(Debug, Clone, Default)]
pub struct StackStep {
    /// First to last.
    pub layers: Vec<LayerStep>,
}
