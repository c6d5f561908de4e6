//! [`Recurrence`] on the GPU: all steps of a tile in one dispatch, or one dispatch for each phase of a step.

use super::recurrent::{self, Form, Kernel, Params, Phase, Schedule};
use crate::error::Result;
use crate::gpu::recorder::{Binding, Recorder};
use crate::gpu::shader::Access::{Read, ReadWrite};
use crate::gpu::shader::Shader;
use crate::ops::Recurrence;

const KERNEL: Kernel = Kernel {
    name: "recurrent_forward",
    main: include_str!("../../../shaders/recurrent_forward.wgsl"),
    rows: recurrent::KEPT_ROWS,
    second: include_str!("../../../shaders/lib/second_forward.wgsl"),
    many: false,
    input: false,
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite, ReadWrite],
    term: |_| 1,
};

/// With running states beside the kept ones.
const RUNNING: Kernel = Kernel {
    rows: recurrent::RUNNING_ROWS,
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
    ..KERNEL
};

fn kernel(op: &Recurrence) -> &'static Kernel {
    match op.running {
        None => &KERNEL,
        Some(_) => &RUNNING,
    }
}

pub(crate) fn shaders() -> Vec<Shader> {
    recurrent::sample_shaders(kernel)
}

pub(crate) fn record(op: &Recurrence, recorder: &mut Recorder<'_>) -> Result<()> {
    recurrent::check(op, recorder)?;
    let choice = recurrent::choose(KERNEL.name, op, recorder);
    let schedule = Schedule::new((op, kernel(op)), choice, op.hidden.max(op.state), recorder)?;
    let mut bindings = recurrent::bindings(op, Form::new(choice));
    bindings.extend((op.running).map(|running| Binding::ReadWrite(running.h.buffer)));
    let params = Params::new(op);
    let phases = phases(op);
    for group in schedule.groups() {
        if group.persistent {
            schedule.dispatch(recorder, &bindings, &params, (&group, None))?;
            continue;
        }
        for step in group.steps.clone() {
            for phase in &phases {
                let at = Some((step, *phase));
                schedule.dispatch(recorder, &bindings, &params, (&group, at))?;
            }
        }
    }
    Ok(())
}

/// The phases of a step in their order.
fn phases(op: &Recurrence) -> Vec<Phase> {
    let mut phases = vec![Phase {
        number: 0,
        units: Some(op.hidden),
    }];
    if op.spec.layer_norm.is_some() {
        phases.push(Phase {
            number: 1,
            units: None,
        });
    }
    if op.spec.has_second_product() {
        phases.push(Phase {
            number: 2,
            units: Some(op.layout.second_outputs),
        });
    }
    phases
}
