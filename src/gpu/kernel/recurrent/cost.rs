//! What a step of a recurrence costs: multiply-adds, and loop iterations of an invocation.

use super::form::Form;
use crate::ops::{Mode, Recurrence};

/// Loop iterations of one invocation in one dispatch. Mesa's software adapter silently ends an invocation's loops after
/// 65,535 iterations in total; [`iterations_per_step`] errs on the high side, and this leaves a margin on top.
pub(super) const ITERATIONS_PER_DISPATCH: usize = 50_000;

/// Multiply-adds of the recurrence over `rows` rows of each direction.
pub(super) fn multiply_adds(op: &Recurrence, rows: usize) -> u64 {
    let first = op.state * op.hidden * op.layout.slots;
    let second = op.layout.second_inputs * op.layout.second_outputs;
    (op.directions * rows) as u64 * (first + second + op.hidden) as u64
}

/// Whether a tile's step through layers, each with a product over so many `inputs` and one over the states, all of them in one
/// workgroup, stays within an invocation's iterations.
pub(in crate::gpu::kernel) fn fits_one_dispatch(
    op: &Recurrence,
    inputs: &[usize],
    form: Form,
) -> bool {
    let smallest = form.least_workgroup();
    let blocks = match inputs.len() {
        // The units of a layer alone are spread over workgroups.
        1 => 1,
        _ => op.hidden.div_ceil(smallest),
    };
    let product = |terms: usize| product_iterations(terms, form.tile, smallest);
    let of_layer = |&inputs: &usize| blocks * (product(inputs) + product(op.state) + form.tile + 1);
    inputs.iter().map(of_layer).sum::<usize>() <= ITERATIONS_PER_DISPATCH
}

/// Loop iterations of a product for one block of units: the terms, and the chunks with their staging.
fn product_iterations(terms: usize, tile: usize, workgroup: usize) -> usize {
    let chunk = 512 / tile;
    terms + terms.div_ceil(chunk) * (2 + chunk.div_ceil(workgroup)) + 8
}

/// Loop iterations of an invocation for one step of the persistent kernel, all phases, forward or backward, rounded up.
pub(super) fn iterations_per_step(op: &Recurrence, tile: usize, workgroup: usize) -> usize {
    // Two numbers of ten rounds each for an element.
    let zoneout = op.spec.zoneout.hidden > 0.0 || op.spec.zoneout.cell > 0.0;
    let draws = match op.mode {
        Mode::Training if zoneout => 2 * 10,
        _ => 0,
    };
    // For one block of units, with the arithmetic of the tile's sequences.
    let product = |terms| product_iterations(terms, tile, workgroup) + tile * (1 + draws);
    let blocks = |units: usize| units.div_ceil(workgroup);
    let widest = op.hidden.max(op.state);
    let mut iterations = blocks(widest) * product(widest);
    if op.spec.has_second_product() {
        let clip = match op.spec.clip.projection {
            Some(_) => tile * op.layout.second_inputs,
            None => 0,
        };
        iterations += blocks(widest) * (product(widest) + clip);
    }
    if op.spec.layer_norm.is_some() {
        // Up to eleven passes over a row's units, eight slot sums in some, and a reduction after each.
        let reductions = 11 * (workgroup.ilog2() as usize + 1);
        iterations += tile * (blocks(op.hidden) * (11 + 3 * 4 + draws) + reductions);
    }
    iterations + iterations / 4 + 16
}
