//! [`SquaredNorm`] on the GPU: partial sums of workgroups, then their sum.

use crate::error::Result;
use crate::gpu::kernel::{lib, sum_partials};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::SquaredNorm;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    offset: u32,
    len: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "squared_norm",
        &[
            lib::REDUCE,
            include_str!("../../../shaders/squared_norm.wgsl"),
        ],
        &[Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &SquaredNorm, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("values of a norm", op.values, op.len)?;
    let groups = sum_partials::groups(op.len, recorder);
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            offset: op.values.offset as u32,
            len: op.len as u32,
        }),
        step: None,
        bindings: &[Binding::Read(op.values.buffer), Binding::ScratchWrite],
        workgroups: groups,
        cost: op.len as u64,
    })?;
    sum_partials::record(groups, op.target, 1.0, recorder)
}
