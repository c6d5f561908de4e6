//! [`Elementwise`] on the GPU: one invocation an element.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{Elementwise, ElementwiseKind};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    a_offset: u32,
    b_offset: u32,
    result_offset: u32,
    len: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "elementwise",
        &[
            lib::INDEX,
            include_str!("../../../shaders/elementwise.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[("KIND", 2.0)])
}

pub(crate) fn record(op: &Elementwise, recorder: &mut Recorder<'_>) -> Result<()> {
    // Only a product reads the second operand.
    let (kind, b) = match op.kind {
        ElementwiseKind::Copy => (0.0, op.a),
        ElementwiseKind::Accumulate => (1.0, op.a),
        ElementwiseKind::Multiply => (2.0, op.b),
    };
    recorder.check("first operand", op.a, op.len)?;
    recorder.check("second operand", b, op.len)?;
    recorder.check("result", op.target, op.len)?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[("KIND", kind)],
        uniform: bytemuck::bytes_of(&Params {
            a_offset: op.a.offset as u32,
            b_offset: b.offset as u32,
            result_offset: op.target.offset as u32,
            len: op.len as u32,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.a.buffer),
            Binding::Read(b.buffer),
            Binding::ReadWrite(op.target.buffer),
        ],
        workgroups: recorder.linear(op.len, LINEAR)?,
        cost: op.len as u64,
    })
}
