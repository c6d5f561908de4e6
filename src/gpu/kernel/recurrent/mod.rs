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
use crate::ops::Recurrence;

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

/// Checks that every buffer holds what the operation will touch.
pub(super) fn check(op: &Recurrence, recorder: &Recorder<'_>) -> Result<()> {
    let units = op.hidden * op.layout.slots;
    let rows = op.directions * (op.batch + op.tokens);
    let offsets = op.offsets.offsets();
    let window = offsets[op.steps.start].checked_sub(op.first_row);
    let end = offsets[op.steps.end] - op.first_row.min(offsets[op.steps.end]);
    if window.is_none() || end > op.gate_rows {
        return Err(Error::shape(
            "rows of the gate window",
            format!(
                "rows {}..{}",
                offsets[op.steps.start], offsets[op.steps.end]
            ),
            format!("{} rows from {} on", op.gate_rows, op.first_row),
        ));
    }
    for (what, region) in [
        ("offset of the gates", op.gates),
        ("offset of the packed weights", op.weights),
    ] {
        if !region.offset.is_multiple_of(op.layout.slots) {
            let expected = "a multiple of the slots";
            return Err(Error::shape(what, expected, region.offset));
        }
    }
    recorder.check("gates", op.gates, op.directions * op.gate_rows * units)?;
    if let Some(sums) = op.recurrent_sums {
        recorder.check("recurrent sums", sums, op.directions * op.gate_rows * units)?;
    }
    recorder.check(
        "packed weights",
        op.weights,
        op.directions * op.layout.len(),
    )?;
    recorder.check("hidden states", op.states.h, rows * op.state)?;
    recorder.check(
        "recurrent inputs",
        op.states.recurrent_input,
        rows * op.state,
    )?;
    for (what, region, len) in [
        ("mask", op.states.mask, op.directions * op.batch * op.state),
        ("cell states", op.states.c, rows * op.hidden),
        (
            "second inputs",
            op.states.second,
            op.directions * op.tokens * op.hidden,
        ),
    ] {
        if let Some(region) = region {
            recorder.check(what, region, len)?;
        }
    }
    check_running(op, recorder)?;
    recorder.check_table(
        "steps",
        op.offsets_table,
        op.offsets.steps() + 1,
        op.tokens + 1,
    )?;
    recorder.check_table("sequences", op.order_table, op.batch, op.batch.max(1))
}

/// The same of the running states, which one binding has to reach.
fn check_running(op: &Recurrence, recorder: &Recorder<'_>) -> Result<()> {
    let Some(running) = &op.running else {
        return Ok(());
    };
    let sequences = op.directions * op.batch;
    let input = Some(running.recurrent_input);
    for (what, region, len) in [
        (
            "running hidden states",
            Some(running.h),
            2 * sequences * op.state,
        ),
        ("running inputs", input, 2 * sequences * op.state),
        ("running mask", running.mask, sequences * op.state),
        ("running cell states", running.c, 2 * sequences * op.hidden),
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
