//! [`Fill`] on the GPU: one invocation an element.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::Fill;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    offset: u32,
    len: u32,
    value: f32,
}

pub(crate) fn shader() -> Shader {
    Shader::new(
        "fill",
        &[lib::INDEX, include_str!("../../../shaders/fill.wgsl")],
        &[Access::ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &Fill, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("fill", op.target, op.len)?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            offset: op.target.offset as u32,
            len: op.len as u32,
            value: op.value,
        }),
        step: None,
        bindings: &[Binding::ReadWrite(op.target.buffer)],
        workgroups: recorder.linear(op.len, LINEAR)?,
        cost: op.len as u64,
    })
}
