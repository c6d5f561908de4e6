//! [`GradientNorm`] on the GPU: partial sums of workgroups, then their sums.

use crate::error::Result;
use crate::gpu::kernel::{lib, sum_partials};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{GradientNorm, NORM_SCALE};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    offset: u32,
    len: u32,
    scale: f32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "gradient_norm",
        &[
            lib::FINITE,
            lib::REDUCE,
            include_str!("../../../shaders/gradient_norm.wgsl"),
        ],
        &[Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &GradientNorm, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("values of a norm", op.values, op.len)?;
    let sums = GradientNorm::TARGET_LEN;
    let groups = sum_partials::groups_of_sums(op.len, sums, recorder);
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            offset: op.values.offset as u32,
            len: op.len as u32,
            scale: NORM_SCALE,
        }),
        step: None,
        bindings: &[Binding::Read(op.values.buffer), Binding::ScratchWrite],
        workgroups: groups,
        cost: 2 * op.len as u64,
    })?;
    sum_partials::record_sums((groups, sums), op.target, 1.0, recorder)
}
