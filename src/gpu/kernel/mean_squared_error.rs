//! [`MeanSquaredError`] on the GPU: the gradient and partial sums of workgroups, then their sum.

use crate::error::Result;
use crate::gpu::kernel::{lib, sum_partials};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::MeanSquaredError;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    prediction_offset: u32,
    expected_offset: u32,
    gradient_offset: u32,
    len: u32,
    factor: f32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "mean_squared_error",
        &[
            lib::REDUCE,
            include_str!("../../../shaders/mean_squared_error.wgsl"),
        ],
        &[Read, Read, ReadWrite, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &MeanSquaredError, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("predictions", op.prediction, op.len)?;
    recorder.check("targets", op.target, op.len)?;
    recorder.check("gradient of the loss", op.gradient, op.len)?;
    let groups = sum_partials::groups(op.len, recorder);
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            prediction_offset: op.prediction.offset as u32,
            expected_offset: op.target.offset as u32,
            gradient_offset: op.gradient.offset as u32,
            len: op.len as u32,
            factor: 2.0 / op.len as f32,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.prediction.buffer),
            Binding::Read(op.target.buffer),
            Binding::ReadWrite(op.gradient.buffer),
            Binding::ScratchWrite,
        ],
        workgroups: groups,
        cost: 2 * op.len as u64,
    })?;
    sum_partials::record(groups, op.loss, 1.0 / op.len as f32, recorder)
}
