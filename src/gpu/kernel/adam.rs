//! [`Adam`] on the GPU: one invocation a parameter.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::Adam;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    parameters_offset: u32,
    gradients_offset: u32,
    moments_offset: u32,
    squared_norm_offset: u32,
    settings_offset: u32,
    len: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "adam",
        &[lib::INDEX, include_str!("../../../shaders/adam.wgsl")],
        &[ReadWrite, Read, ReadWrite, Read, Read],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &Adam, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("parameters", op.parameters, op.len)?;
    recorder.check("gradients", op.gradients, op.len)?;
    recorder.check("moments", op.moments, op.len.saturating_mul(2))?;
    recorder.check("squared norm", op.squared_norm, 1)?;
    recorder.check("settings", op.settings, 8)?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            parameters_offset: op.parameters.offset as u32,
            gradients_offset: op.gradients.offset as u32,
            moments_offset: op.moments.offset as u32,
            squared_norm_offset: op.squared_norm.offset as u32,
            settings_offset: op.settings.offset as u32,
            len: op.len as u32,
        }),
        step: None,
        bindings: &[
            Binding::ReadWrite(op.parameters.buffer),
            Binding::Read(op.gradients.buffer),
            Binding::ReadWrite(op.moments.buffer),
            Binding::Read(op.squared_norm.buffer),
            Binding::Read(op.settings.buffer),
        ],
        workgroups: recorder.linear(op.len, LINEAR)?,
        cost: 16 * op.len as u64,
    })
}
