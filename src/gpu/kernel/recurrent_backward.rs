//! [`RecurrentBackward`] on the GPU: the mirror of [`recurrent_forward`](super::recurrent_forward), last step first.

use super::recurrent::{self, Form, Kernel, Params, Phase, Schedule};
use crate::error::{Error, Result};
use crate::gpu::recorder::{Binding, Recorder};
use crate::gpu::shader::Access::{Read, ReadWrite};
use crate::gpu::shader::Shader;
use crate::ops::{Program, Recurrence, RecurrentBackward, RecurrentBackwardWave, Region, elements};

const KERNEL: Kernel = Kernel {
    name: "recurrent_backward",
    main: include_str!("../../../shaders/recurrent_backward.wgsl"),
    rows: recurrent::KEPT_ROWS,
    second: include_str!("../../../shaders/lib/second_backward.wgsl"),
    many: false,
    input: false,
    bindings: &[
        Read, Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite, ReadWrite,
    ],
    term: |op| op.layout.slots,
};

/// With running states beside the kept ones.
const RUNNING: Kernel = Kernel {
    rows: recurrent::KEPT_ROWS_OF_RUNNING,
    ..KERNEL
};

/// Of several cells.
const WAVE: Kernel = Kernel {
    many: true,
    ..KERNEL
};
const RUNNING_WAVE: Kernel = Kernel {
    many: true,
    ..RUNNING
};

fn kernel(op: &Recurrence) -> &'static Kernel {
    match op.running {
        None => &KERNEL,
        Some(_) => &RUNNING,
    }
}

fn wave_kernel(op: &Recurrence) -> &'static Kernel {
    match op.running {
        None => &WAVE,
        Some(_) => &RUNNING_WAVE,
    }
}

pub(crate) fn shaders(programs: &[Program]) -> Vec<Shader> {
    recurrent::sample_shaders(programs, &[kernel, wave_kernel])
}

pub(crate) fn record(op: &RecurrentBackward, recorder: &mut Recorder<'_>) -> Result<()> {
    record_cells(&[op], recorder)
}

pub(crate) fn record_wave(wave: &RecurrentBackwardWave, recorder: &mut Recorder<'_>) -> Result<()> {
    let cells = wave.cells.iter().filter(|op| !op.forward.steps.is_empty());
    let cells: Vec<_> = cells.collect();
    let each = match is_one_dispatch(&cells) {
        true => recurrent::MOST_CELLS,
        false => 1,
    };
    { cells.chunks(each) }.try_for_each(|cells| record_cells(cells, recorder))
}

/// Whether one shader with one set of buffers can do them.
fn is_one_dispatch(cells: &[&RecurrentBackward]) -> bool {
    let forwards: Vec<_> = cells.iter().map(|op| &op.forward).collect();
    let own = |op: &RecurrentBackward| {
        let buffers = [op.h_gradient, op.output_gradient].map(|region| region.buffer);
        (op.rebuilt, buffers)
    };
    let same = cells.windows(2).all(|pair| own(pair[0]) == own(pair[1]));
    same && recurrent::is_one_dispatch(&forwards)
}

/// Cells that one dispatch can take.
fn record_cells(cells: &[&RecurrentBackward], recorder: &mut Recorder<'_>) -> Result<()> {
    for op in cells {
        check(op, recorder)?;
    }
    let forwards: Vec<_> = cells.iter().map(|op| &op.forward).collect();
    let (Some(lead), Some(first)) = (recurrent::lead(&forwards), cells.first()) else {
        return Ok(());
    };
    let (forward, count) = (&lead, cells.len());
    let kernel = if count > 1 { wave_kernel } else { kernel };
    let choice = recurrent::choose(KERNEL.name, (forward, count), recorder);
    let form = Form::new(choice);
    let threads = forward.state.div_ceil(form.units());
    // Other phases have a thread for each unit.
    let widest = match forward.spec.layer_norm.is_some() || forward.spec.has_second_product() {
        true => forward.hidden.max(forward.state),
        false => threads,
    };
    let of_cells = (forward, kernel(forward), count);
    let schedule = Schedule::new(of_cells, choice, widest, recorder)?.rebuilt(first.rebuilt);
    let mut bindings = recurrent::bindings(forward, form);
    bindings.push(Binding::ReadWrite(first.h_gradient.buffer));
    bindings.push(Binding::ReadWrite(first.output_gradient.buffer));
    let params: Vec<_> = cells.iter().map(|op| params(op)).collect();
    let phases = phases(forward, threads);
    let flush = Phase {
        number: 3,
        units: Some(threads),
    };
    for group in schedule.groups().into_iter().rev() {
        if group.persistent {
            schedule.dispatch(recorder, &bindings, &params, (&group, None))?;
            continue;
        }
        for step in group.steps.clone().rev() {
            for phase in &phases {
                let at = Some((step, *phase));
                schedule.dispatch(recorder, &bindings, &params, (&group, at))?;
            }
        }
        let at = Some((group.steps.start, flush));
        schedule.dispatch(recorder, &bindings, &params, (&group, at))?;
    }
    Ok(())
}

/// The phases of a step in their order: the mirror of the forward's. The first takes a number of `threads`.
fn phases(op: &Recurrence, threads: usize) -> Vec<Phase> {
    let mut phases = vec![Phase {
        number: 0,
        units: Some(threads),
    }];
    if op.spec.has_second_product() {
        phases.push(Phase {
            number: 2,
            units: Some(op.layout.second_inputs),
        });
    }
    if op.spec.layer_norm.is_some() {
        phases.push(Phase {
            number: 1,
            units: None,
        });
    }
    phases
}

fn params(op: &RecurrentBackward) -> Params {
    let forward = &op.forward;
    let place = |region: Option<Region>| region.map_or(0, |region| region.offset as u32);
    let weights = |part: usize| (forward.weights.offset + part) as u32;
    let sequences = forward.directions * forward.batch;
    let mut params = Params::new(forward);
    params.recurrent = weights(forward.layout.recurrent_transposed);
    params.second = weights(forward.layout.second_transposed);
    params.d_h = op.h_gradient.offset as u32;
    params.d_c = place(op.c_gradient);
    params.scratch = place(op.scratch);
    params.scratch_second = params.scratch + (sequences * forward.hidden) as u32;
    params.vector_sums = place(op.vector_sums);
    if forward.running.is_some() {
        params.mask = place(op.mask);
    }
    params.d_output = op.output_gradient.offset as u32;
    params
}

fn check(op: &RecurrentBackward, recorder: &Recorder<'_>) -> Result<()> {
    let forward = &op.forward;
    recurrent::check(forward, recorder)?;
    op.validate()?;
    let of_sequences = |units: usize| elements(&[forward.directions, forward.batch, units]);
    let output = elements(&[forward.directions, forward.tokens, forward.state]);
    let several_stages = forward.spec.layer_norm.is_some() || forward.spec.has_second_product();
    if several_stages && op.scratch.is_none() {
        return Err(Error::State(
            "the backward of a cell of several stages needs scratch space",
        ));
    }
    if let Some(running) = &forward.running
        && running.mask.is_some() != op.mask.is_some()
    {
        return Err(Error::State(
            "the backward of a recurrence with running states needs its recurrent dropout's mask",
        ));
    }
    recorder.check("output gradient", op.output_gradient, output)?;
    recorder.check("state gradient", op.h_gradient, of_sequences(forward.state))?;
    for (what, region, len) in [
        (
            "cell state gradient",
            op.c_gradient,
            of_sequences(forward.hidden),
        ),
        (
            "scratch",
            op.scratch,
            of_sequences(forward.hidden).saturating_mul(2),
        ),
        ("mask", op.mask, of_sequences(forward.state)),
        (
            "vector sums",
            op.vector_sums,
            of_sequences(forward.layout.vectors_len()),
        ),
    ] {
        if let Some(region) = region {
            if region.buffer != op.h_gradient.buffer {
                return Err(Error::shape(
                    what,
                    "the buffer of the state gradient",
                    "another buffer",
                ));
            }
            recorder.check(what, region, len)?;
        }
    }
    Ok(())
}
