//! [`OptimizerStep`] on the GPU: one invocation a parameter.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{OptimizerControl, OptimizerStep, UpdateRule};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    parameters_offset: u32,
    gradients_offset: u32,
    state_offset: u32,
    control_offset: u32,
    settings_offset: u32,
    segments_offset: u32,
    segments: u32,
    len: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "optimizer_step",
        &[
            lib::INDEX,
            include_str!("../../../shaders/optimizer_step.wgsl"),
        ],
        &[ReadWrite, Read, ReadWrite, Read, Read, Read],
        size_of::<Params>(),
    )
    .with_overrides(&overrides(UpdateRule::RmsProp {
        momentum: true,
        centered: true,
    }))
}

fn overrides(rule: UpdateRule) -> [(&'static str, f64); 5] {
    let (number, momentum, nesterov, decoupled, centered) = match rule {
        UpdateRule::Sgd { momentum, nesterov } => (0.0, momentum, nesterov, false, false),
        UpdateRule::Adam { decoupled } => (1.0, false, false, decoupled, false),
        UpdateRule::RmsProp { momentum, centered } => (2.0, momentum, false, false, centered),
    };
    [
        ("RULE", number),
        ("MOMENTUM", momentum.into()),
        ("NESTEROV", nesterov.into()),
        ("DECOUPLED", decoupled.into()),
        ("CENTERED", centered.into()),
    ]
}

pub(crate) fn record(op: &OptimizerStep, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("parameters", op.parameters, op.len)?;
    recorder.check("gradients", op.gradients, op.len)?;
    recorder.check("state", op.state, op.len.saturating_mul(op.rule.slots()))?;
    recorder.check("control", op.control, OptimizerControl::CONTROL_LEN)?;
    recorder.check("settings", op.settings, op.settings_len())?;
    let words = op.segments.saturating_mul(2);
    op.check_segments(recorder.words("segments", op.segments_table, words)?)?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &overrides(op.rule),
        uniform: bytemuck::bytes_of(&Params {
            parameters_offset: op.parameters.offset as u32,
            gradients_offset: op.gradients.offset as u32,
            state_offset: op.state.offset as u32,
            control_offset: op.control.offset as u32,
            settings_offset: op.settings.offset as u32,
            segments_offset: op.segments_table.0 as u32,
            segments: op.segments as u32,
            len: op.len as u32,
        }),
        step: None,
        bindings: &[
            Binding::ReadWrite(op.parameters.buffer),
            Binding::Read(op.gradients.buffer),
            Binding::ReadWrite(op.state.buffer),
            Binding::Read(op.control.buffer),
            Binding::Read(op.settings.buffer),
            Binding::Table,
        ],
        workgroups: recorder.linear(op.len, LINEAR)?,
        cost: 16 * op.len as u64,
    })
}
