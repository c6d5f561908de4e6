//! What the recurrent kernels share: the uniform, the shader's modules and variants for a cell, and the schedule of steps.

mod choice;
mod cost;
mod form;
mod params;
mod samples;
mod schedule;
mod shader;
mod wave;

use crate::error::{Error, Result};
use crate::gpu::recorder::Recorder;
use crate::ops::{Recurrence, StateRegions, elements};

pub(super) use choice::choose;
pub(crate) use choice::{key, table};
pub(super) use cost::fits_one_dispatch;
pub(super) use form::Form;
pub(super) use params::Params;
pub(super) use samples::{sample_shaders, sample_steps};
pub(super) use schedule::{Phase, Schedule};
pub(super) use shader::{
    KEPT_ROWS, KEPT_ROWS_OF_RUNNING, Kernel, MOST_CELLS, RUNNING_ROWS, bindings, shader, uniform,
    variant, weight_bindings, weight_elements,
};
pub(super) use wave::{is_one_dispatch, lead};

/// Checks the operation, and that every buffer holds what it will touch.
pub(super) fn check(op: &Recurrence, recorder: &Recorder<'_>) -> Result<()> {
    op.validate()?;
    let (directions, slots) = (op.directions, op.layout.slots);
    let rows = op.batch.saturating_add(op.tokens);
    for (what, region) in [
        ("offset of the gates", op.gates),
        (
            "offset of the recurrent sums",
            op.recurrent_sums.unwrap_or(op.gates),
        ),
        ("offset of the packed weights", op.weights),
    ] {
        if !region.offset.is_multiple_of(slots) {
            let expected = "a multiple of the slots";
            return Err(Error::shape(what, expected, region.offset));
        }
    }
    let gates = [directions, op.gate_rows, op.hidden, slots];
    let states = [directions, rows, op.state];
    let weights = [directions, op.layout.len()];
    recorder.check("gates", op.gates, elements(&gates))?;
    recorder.check("packed weights", op.weights, elements(&weights))?;
    if let Some(sums) = op.recurrent_sums {
        recorder.check("recurrent sums", sums, elements(&gates))?;
    }
    let StateRegions { h, mask, c, .. } = op.states;
    let tensors: [(_, _, &[usize]); 5] = [
        ("hidden states", Some(h), &states),
        ("recurrent inputs", Some(op.states.recurrent_input), &states),
        ("mask", mask, &[directions, op.batch, op.state]),
        ("cell states", c, &[directions, rows, op.hidden]),
        (
            "second inputs",
            op.states.second,
            &[directions, op.tokens, op.hidden],
        ),
    ];
    for (what, region, sizes) in tensors {
        let Some(region) = region else { continue };
        if region.buffer != h.buffer {
            let expected = "the buffer of the hidden states";
            return Err(Error::shape(what, expected, "another buffer"));
        }
        recorder.check(what, region, elements(sizes))?;
    }
    check_running(op, recorder)?;
    let offsets = op.offsets.offsets();
    let words = recorder.words("steps", op.offsets_table, offsets.len())?;
    if !words
        .iter()
        .map(|&word| word as usize)
        .eq(offsets.iter().copied())
    {
        let expected = "the rows before each step of the batch";
        return Err(Error::shape("table of steps", expected, "other words"));
    }
    recorder.check_table("sequences", op.order_table, op.batch, op.batch.max(1))
}

/// The same of the running states, which one binding has to reach.
fn check_running(op: &Recurrence, recorder: &Recorder<'_>) -> Result<()> {
    let Some(running) = &op.running else {
        return Ok(());
    };
    let set = |units: usize| elements(&[2, op.directions, op.batch, units]);
    let input = Some(running.recurrent_input);
    for (what, region, len) in [
        ("running hidden states", Some(running.h), set(op.state)),
        ("running inputs", input, set(op.state)),
        (
            "running mask",
            running.mask,
            elements(&[op.directions, op.batch, op.state]),
        ),
        ("running cell states", running.c, set(op.hidden)),
    ] {
        let Some(region) = region else { continue };
        if region.buffer != running.h.buffer {
            let expected = "the buffer of the running hidden states";
            return Err(Error::shape(what, expected, "another buffer"));
        }
        recorder.check(what, region, len)?;
    }
    Ok(())
}
