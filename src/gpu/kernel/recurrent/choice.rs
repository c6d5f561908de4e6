//! Which form and strategy a recurrence takes: what the caller asked for, else what the tuner found, else a table.

use super::form::Form;
use super::schedule::multiply_adds;
use crate::gpu::options::Strategy;
use crate::gpu::recorder::Recorder;
use crate::gpu::tuner::Choice;
use crate::ops::Recurrence;

/// Multiply-adds of a step up to which, measured, a software adapter loses more with a dispatch for each than with barriers.
const SMALL_STEP: u64 = 1 << 19;

/// The choice for an operation of a kernel.
pub(in crate::gpu::kernel) fn choose(
    kernel: &str,
    op: &Recurrence,
    recorder: &Recorder<'_>,
) -> Choice {
    let options = recorder.options();
    let mut choice = recorder
        .forced()
        .or_else(|| recorder.tuned(kernel, op))
        .unwrap_or_else(|| table(op, recorder));
    if recorder.forced().is_none() {
        choice.tile = options.tile.unwrap_or(choice.tile);
        choice.persistent = match options.strategy {
            Strategy::Auto => choice.persistent,
            strategy => strategy == Strategy::Persistent,
        };
    }
    // What was tuned may have been tuned with other options.
    choice.broadcast &= recorder.subgroup_size().is_some();
    choice.texture &= op.layout.slots == 4 && recorder.can_texture(op.weights);
    choice
}

/// A guess for adapters of a kind, from measurements on one of them.
pub(crate) fn table(op: &Recurrence, recorder: &Recorder<'_>) -> Choice {
    let software = recorder.software_threads();
    // On a GPU workgroup memory is the proven choice; there is none here to compare on. A software adapter, Mesa's, takes 27 to
    // 37 ns for eight lanes' vec4s from a texture, 257 ns from a storage buffer.
    let broadcast = recorder.subgroup_size().is_some() && software.is_some();
    let widest = Form {
        tile: if broadcast { 16 } else { 4 },
        broadcast,
        texture: false,
    };
    let tile = widest.of_sequences(op.batch).tile;
    let tiles = op.batch.div_ceil(tile) * op.directions;
    let macs = multiply_adds(op, op.offsets.batch_size(op.steps.start));
    Choice {
        // Small layers are bound by the dispatches of a step; large ones by the products, which one workgroup for each tile
        // cannot spread. In between it takes enough tiles to occupy the cores.
        persistent: match software {
            Some(cores) => tiles >= cores && macs <= SMALL_STEP,
            None => op.hidden <= 64 || (op.hidden <= 256 && tiles >= 16),
        },
        tile,
        broadcast,
        texture: broadcast && op.layout.slots == 4 && recorder.can_texture(op.weights),
    }
}
