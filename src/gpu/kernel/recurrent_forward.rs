//! [`Recurrence`] on the GPU: all steps of a tile in one dispatch, or one dispatch for each phase of a step.

use super::recurrent::{self, Form, Kernel, Params, Phase, Schedule};
use crate::error::Result;
use crate::gpu::recorder::{Binding, Recorder};
use crate::gpu::shader::Access::{Read, ReadWrite};
use crate::gpu::shader::Shader;
use crate::ops::{Program, Recurrence, RecurrentWave};

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

pub(crate) fn record(op: &Recurrence, recorder: &mut Recorder<'_>) -> Result<()> {
    record_cells(&[op], recorder)
}

pub(crate) fn record_wave(wave: &RecurrentWave, recorder: &mut Recorder<'_>) -> Result<()> {
    let cells = wave.cells.iter().filter(|op| !op.steps.is_empty());
    let cells: Vec<_> = cells.collect();
    let each = match recurrent::is_one_dispatch(&cells) {
        true => recurrent::MOST_CELLS,
        false => 1,
    };
    { cells.chunks(each) }.try_for_each(|cells| record_cells(cells, recorder))
}

/// Cells that one dispatch can take.
fn record_cells(cells: &[&Recurrence], recorder: &mut Recorder<'_>) -> Result<()> {
    for op in cells {
        recurrent::check(op, recorder)?;
    }
    let Some(lead) = recurrent::lead(cells) else {
        return Ok(());
    };
    let (op, count) = (&lead, cells.len());
    let kernel = if count > 1 { wave_kernel } else { kernel };
    let choice = recurrent::choose(KERNEL.name, (op, count), recorder);
    let threads = op.hidden.max(op.state);
    let schedule = Schedule::new((op, kernel(op), count), choice, threads, recorder)?;
    let mut bindings = recurrent::bindings(op, Form::new(choice));
    bindings.extend((op.running).map(|running| Binding::ReadWrite(running.h.buffer)));
    let params: Vec<_> = cells.iter().map(|op| Params::new(op)).collect();
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
