//! [`GatherRows`] on the GPU: one invocation an element.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::GatherRows;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    source_offset: u32,
    source_stride: u32,
    result_offset: u32,
    result_stride: u32,
    table_offset: u32,
    width: u32,
    elements: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "gather_rows",
        &[
            lib::INDEX,
            include_str!("../../../shaders/gather_rows.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &GatherRows, recorder: &mut Recorder<'_>) -> Result<()> {
    let source_rows = recorder.table_bound("gathered rows", op.table, op.rows)?;
    recorder.check_rows(
        "source",
        op.source,
        [source_rows, op.width, op.source_stride],
    )?;
    recorder.check_rows("result", op.target, [op.rows, op.width, op.target_stride])?;
    let elements = recorder.count("gathered elements", &[op.rows, op.width])?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            source_offset: op.source.offset as u32,
            source_stride: op.source_stride as u32,
            result_offset: op.target.offset as u32,
            result_stride: op.target_stride as u32,
            table_offset: op.table.0 as u32,
            width: op.width as u32,
            elements: elements as u32,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.source.buffer),
            Binding::Table,
            Binding::ReadWrite(op.target.buffer),
        ],
        workgroups: recorder.linear(elements, LINEAR)?,
        cost: elements as u64,
    })
}
