//! [`Recurrence`] on the GPU: all steps of a tile in one dispatch, or one dispatch for each phase of a step.

use super::recurrent::{self, ACCESS, Params, Phase, Schedule};
use crate::error::Result;
use crate::gpu::recorder::Recorder;
use crate::gpu::shader::Shader;
use crate::ops::Recurrence;

fn shader(op: &Recurrence) -> Shader {
    let main = include_str!("../../../shaders/recurrent_forward.wgsl");
    recurrent::shader(op, "recurrent_forward", main, &ACCESS)
}

pub(crate) fn shaders() -> Vec<Shader> {
    let samples = recurrent::samples().unwrap_or_default();
    let variants = |op: &Recurrence| {
        [true, false].map(|persistent| {
            shader(op).with_overrides(&recurrent::sample_overrides(op, persistent))
        })
    };
    samples.iter().flat_map(variants).collect()
}

pub(crate) fn record(op: &Recurrence, recorder: &mut Recorder<'_>) -> Result<()> {
    recurrent::check(op, recorder)?;
    let schedule = Schedule::new(op, recorder)?;
    let (shader, bindings, params) = (shader(op), recurrent::bindings(op), Params::new(op));
    let phases = phases(op);
    for steps in schedule.groups() {
        if schedule.is_persistent() {
            schedule.dispatch(recorder, (&shader, &bindings), &params, (&steps, None))?;
            continue;
        }
        for step in steps.clone() {
            for phase in &phases {
                let at = Some((step, *phase));
                schedule.dispatch(recorder, (&shader, &bindings), &params, (&steps, at))?;
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
