//! [`OptimizerControl`] on the GPU: one invocation.

use crate::error::Result;
use crate::gpu::kernel::lib;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{COUNTER_CARRY, GradientNorm, NORM_SCALE, OptimizerControl, StepSettings};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    norm_offset: u32,
    settings_offset: u32,
    counters_offset: u32,
    control_offset: u32,
    scale: f32,
    carry: f32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "optimizer_control",
        &[
            lib::FINITE,
            include_str!("../../../shaders/optimizer_control.wgsl"),
        ],
        &[Read, Read, ReadWrite, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &OptimizerControl, recorder: &mut Recorder<'_>) -> Result<()> {
    recorder.check("norm", op.norm, GradientNorm::TARGET_LEN)?;
    recorder.check("settings", op.settings, StepSettings::LEN)?;
    recorder.check("counters", op.counters, OptimizerControl::COUNTERS_LEN)?;
    recorder.check("control", op.control, OptimizerControl::CONTROL_LEN)?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            norm_offset: op.norm.offset as u32,
            settings_offset: op.settings.offset as u32,
            counters_offset: op.counters.offset as u32,
            control_offset: op.control.offset as u32,
            scale: NORM_SCALE,
            carry: COUNTER_CARRY,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.norm.buffer),
            Binding::Read(op.settings.buffer),
            Binding::ReadWrite(op.counters.buffer),
            Binding::ReadWrite(op.control.buffer),
        ],
        workgroups: [1, 1, 1],
        cost: 100,
    })
}
