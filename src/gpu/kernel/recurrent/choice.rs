//! Which form and strategy a recurrence takes: what the caller asked for, else what the tuner found, else a table.

use super::cost::multiply_adds;
use super::form::Form;
use super::shader::cell_name;
use crate::gpu::choice::Choice;
use crate::gpu::options::Strategy;
use crate::gpu::recorder::Recorder;
use crate::ops::{Precision, Recurrence};

/// Multiply-adds of a step for each core that its tiles keep busy, up to which, measured, a software adapter loses more with a
/// dispatch for each, of about 40 us, than with barriers and idle cores.
const SMALL_STEP: u64 = 1 << 20;

/// The choice for an operation of a kernel, so many `cells` like which a dispatch takes.
pub(in crate::gpu::kernel) fn choose(
    kernel: &str,
    (op, cells): (&Recurrence, usize),
    recorder: &Recorder<'_>,
) -> Choice {
    let options = recorder.options();
    let tuned = || recorder.tuned(&key(kernel, op, recorder.stored(op.weights)));
    let mut choice = { recorder.forced() }
        .or_else(tuned)
        .unwrap_or_else(|| table((op, cells), recorder));
    if recorder.forced().is_none() {
        choice.tile = options.tile.unwrap_or(choice.tile);
        choice.persistent = match options.strategy {
            Strategy::Auto => choice.persistent,
            strategy => strategy == Strategy::Persistent,
        };
    }
    // What was tuned may have been tuned with other options.
    choice.broadcast &= recorder.subgroup_size().is_some();
    choice.texture &= op.layout.slots == 4 && recorder.can_texture(op.weights.buffer);
    choice
}

/// The first of an operation's steps that a persistent dispatch takes, and all after it; the end if none is. Where
/// sequences end, what began with a dispatch a step may get small enough.
pub(super) fn persistent_from(
    (op, cells): (&Recurrence, usize),
    choice: Choice,
    recorder: &Recorder<'_>,
) -> usize {
    let is_chosen = recorder.forced().is_some() || recorder.options().strategy != Strategy::Auto;
    let mut steps = op.steps.clone();
    match (choice.persistent, recorder.software_threads()) {
        (true, _) => steps.start,
        (false, Some(cores)) if !is_chosen => steps
            .find(|&step| is_small((op, step, cells), Form::new(choice), cores))
            .unwrap_or(op.steps.end),
        (false, _) => steps.end,
    }
}

/// Whether a step, in tiles of a form or narrower ones, is too small for a dispatch of its own on a software adapter.
fn is_small((op, step, cells): (&Recurrence, usize, usize), form: Form, cores: usize) -> bool {
    let count = op.offsets.batch_size(step);
    let tiles = count.div_ceil(form.of_sequences(count).tile) * op.directions * cells;
    cells as u64 * multiply_adds(op, count) <= SMALL_STEP * tiles.clamp(1, cores.max(1)) as u64
}

/// A guess for adapters of a kind, from measurements on one of them.
pub(crate) fn table((op, cells): (&Recurrence, usize), recorder: &Recorder<'_>) -> Choice {
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
    let tiles = op.batch.div_ceil(tile) * op.directions * cells;
    Choice {
        // Small layers are bound by the dispatches of a step; large ones by the products, which one workgroup for each tile
        // cannot spread. On a GPU it takes enough tiles in between to occupy the cores.
        persistent: match software {
            Some(cores) => is_small((op, op.steps.start, cells), widest, cores),
            None => op.hidden <= 64 || (op.hidden <= 256 && tiles >= 16),
        },
        tile,
        broadcast,
        texture: broadcast && op.layout.slots == 4 && recorder.can_texture(op.weights.buffer),
    }
}

/// What tells operations apart whose measurements may differ.
pub(crate) fn key(kernel: &str, op: &Recurrence, weights: Precision) -> String {
    let (first, last) = (op.steps.start, op.steps.end);
    let rows = op.offsets.offsets()[last] - op.offsets.offsets()[first];
    let [batch, steps, rows] =
        [op.offsets.batch_size(first), op.steps.len(), rows].map(|size| size.next_power_of_two());
    let stored = match weights {
        Precision::F32 => "",
        Precision::F16 => " half",
    };
    format!(
        "{kernel} {} hidden {} state {} directions {} batch {batch} steps {steps} rows {rows}{stored}",
        cell_name(op),
        op.hidden,
        op.state,
        op.directions,
    )
}
