//! [`RecurrentBackward`] on the GPU: the mirror of [`recurrent_forward`](super::recurrent_forward), last step first.

use super::recurrent::{self, Form, Kernel, Params, Phase, Schedule};
use crate::error::{Error, Result};
use crate::gpu::recorder::{Binding, Recorder};
use crate::gpu::shader::Access::{Read, ReadWrite};
use crate::gpu::shader::Shader;
use crate::ops::{Recurrence, RecurrentBackward, Region};

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

fn kernel(op: &Recurrence) -> &'static Kernel {
    match op.running {
        None => &KERNEL,
        Some(_) => &RUNNING,
    }
}

pub(crate) fn shaders() -> Vec<Shader> {
    recurrent::sample_shaders(&[kernel])
}

pub(crate) fn record(op: &RecurrentBackward, recorder: &mut Recorder<'_>) -> Result<()> {
    let forward = &op.forward;
    recurrent::check(forward, recorder)?;
    check(op, recorder)?;
    let choice = recurrent::choose(KERNEL.name, (forward, 1), recorder);
    let form = Form::new(choice);
    let threads = forward.state.div_ceil(form.units());
    // Other phases have a thread for each unit.
    let widest = match forward.spec.layer_norm.is_some() || forward.spec.has_second_product() {
        true => forward.hidden.max(forward.state),
        false => threads,
    };
    let schedule =
        Schedule::new((forward, kernel(forward), 1), choice, widest, recorder)?.rebuilt(op.rebuilt);
    let mut bindings = recurrent::bindings(forward, form);
    bindings.push(Binding::ReadWrite(op.h_gradient.buffer));
    bindings.push(Binding::ReadWrite(op.output_gradient.buffer));
    let params = [params(op)];
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
    let sequences = forward.directions * forward.batch;
    let rows = forward.directions * forward.tokens;
    if let Some(running) = &forward.running
        && running.mask.is_some() != op.mask.is_some()
    {
        return Err(Error::State(
            "the backward of a recurrence with running states needs its recurrent dropout's mask",
        ));
    }
    recorder.check("output gradient", op.output_gradient, rows * forward.state)?;
    recorder.check("state gradient", op.h_gradient, sequences * forward.state)?;
    for (what, region, len) in [
        (
            "cell state gradient",
            op.c_gradient,
            sequences * forward.hidden,
        ),
        ("scratch", op.scratch, 2 * sequences * forward.hidden),
        ("mask", op.mask, sequences * forward.state),
        (
            "vector sums",
            op.vector_sums,
            sequences * forward.layout.vectors_len(),
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
