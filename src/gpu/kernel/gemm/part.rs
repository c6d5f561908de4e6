//! What the kernels of products share: the parts that dispatches compute, and what is bound.

use super::split::Split;
use crate::gpu::recorder::{Binding, Recorder};
use crate::ops::{Gemm, Precision, RowMap};

/// A part of a product that one dispatch computes.
pub(super) struct Part {
    /// Row and end of rows.
    pub(super) rows: [usize; 2],
    /// First term and end of terms.
    pub(super) terms: [usize; 2],
}

impl Part {
    /// The parts of `op` in the order in which they have to run; those after the first of the same rows add to it.
    pub(super) fn all(op: &Gemm, rows: usize, terms: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        for row in (0..op.m).step_by(rows) {
            // A sum over no terms still writes zeros or the bias.
            for term in (0..op.k.max(1)).step_by(terms) {
                parts.push(Self {
                    rows: [row, op.m.min(row + rows)],
                    terms: [term, op.k.min(term + terms)],
                });
            }
        }
        parts
    }

    /// Whether nothing has been summed for these rows.
    pub(super) fn is_first(&self) -> bool {
        self.terms[0] == 0
    }
}

/// The table's use by code, and its first word.
pub(super) fn map_code(op: &Gemm) -> (u32, u32) {
    match op.map {
        None => (0, 0),
        Some(RowMap::GatherM(table)) => (1, table.0 as u32),
        Some(RowMap::GatherK(table)) => (2, table.0 as u32),
        Some(RowMap::ScatterM(table)) => (3, table.0 as u32),
    }
}

/// What both kernels bind, the right factor as a `texture` if asked. The result goes to the scratch buffer if the sum is split.
pub(super) fn bindings(op: &Gemm, split: &Split, texture: bool) -> [Binding; 5] {
    [
        Binding::Read(op.a.region.buffer),
        match texture {
            true => Binding::Texture(op.b.region.buffer),
            false => Binding::Read(op.b.region.buffer),
        },
        // Without a bias something readable has to be bound.
        Binding::Read(op.bias.map_or(op.b.region.buffer, |bias| bias.buffer)),
        Binding::Table,
        match split.is_needed() {
            true => Binding::ScratchWrite,
            false => Binding::ReadWrite(op.c.region.buffer),
        },
    ]
}

/// How a product's operands are stored: `a`, `b`, the bias and what is written.
pub(super) type Stored = [Precision; 4];

/// Single precision throughout, and what a network with half precision multiplies: its projections, and the gradients.
pub(super) const SAMPLES: [Stored; 4] = {
    use Precision::{F16, F32};
    [
        [F32; 4],
        [F32, F16, F16, F16],
        [F16; 4],
        [F16, F16, F16, F32],
    ]
};

pub(super) fn stored(op: &Gemm, split: &Split, recorder: &Recorder<'_>) -> Stored {
    [
        recorder.stored(op.a.region),
        recorder.stored(op.b.region),
        recorder.stored(op.bias.unwrap_or(op.b.region)),
        match split.is_needed() {
            true => Precision::F32,
            false => recorder.stored(op.c.region),
        },
    ]
}

/// As many rows, in whole tiles of `tile` rows, as the dimension's workgroups and one submission's budget allow, for
/// `padded` columns and `terms` terms.
pub(super) fn rows_per_dispatch(
    recorder: &Recorder<'_>,
    tile: usize,
    [padded, terms]: [usize; 2],
) -> usize {
    let tile_row = (padded * tile) as u64 * terms as u64;
    let most = recorder.limits().max_compute_workgroups_per_dimension as usize;
    recorder.affordable(tile_row).min(most) * tile
}
