//! The cells of a wave in one dispatch.

use std::sync::Arc;

use crate::ops::{Recurrence, Region};

/// What stands for the cells of a dispatch in its schedule: of all cells that have a step, at each the one with the most
/// sequences, over as many steps as any has.
pub(in crate::gpu::kernel) fn lead(cells: &[&Recurrence]) -> Option<Recurrence> {
    let first = cells.iter().min_by_key(|op| op.steps.start)?;
    let most = cells.iter().map(|op| op.steps.len()).max()?;
    // Others start later, and end within the batch.
    let end = first.steps.start + most;
    Some(Recurrence {
        steps: first.steps.start..end,
        ..(*first).clone()
    })
}

/// Whether one shader with one set of buffers can do them.
pub(in crate::gpu::kernel) fn is_one_dispatch(cells: &[&Recurrence]) -> bool {
    let Some((first, others)) = cells.split_first() else {
        return false;
    };
    let buffer = |region: Option<Region>| region.map(|region| region.buffer);
    let buffers = |op: &Recurrence| {
        [
            Some(op.weights),
            Some(op.gates),
            op.recurrent_sums,
            Some(op.states.h),
            op.running.map(|running| running.h),
        ]
        .map(buffer)
    };
    let shape = |op: &Recurrence| {
        let sizes = [op.hidden, op.state, op.directions, op.batch];
        let flags = [op.keeps_gates, op.mask().is_some()];
        (op.spec, sizes, flags, op.mode, buffers(op))
    };
    let same_rows = |op: &&Recurrence| {
        Arc::ptr_eq(&op.offsets, &first.offsets) && op.offsets_table == first.offsets_table
    };
    { others.iter() }.all(|op| shape(op) == shape(first) && same_rows(op))
}
