//! [`EmbeddingRows`] on the GPU: one invocation an element.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::EmbeddingRows;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    table_offset: u32,
    entries: u32,
    width: u32,
    ids_offset: u32,
    ids_stride: u32,
    features_offset: u32,
    features_stride: u32,
    result_offset: u32,
    result_stride: u32,
    columns: u32,
    elements: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "embedding_rows",
        &[
            lib::INDEX,
            lib::NUMBER,
            include_str!("../../../shaders/embedding_rows.wgsl"),
        ],
        &[Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &EmbeddingRows, recorder: &mut Recorder<'_>) -> Result<()> {
    op.validate()?;
    let table = recorder.count("embedding table", &[op.entries, op.width])?;
    recorder.check("embedding table", op.table, table)?;
    recorder.check_rows("ids", op.ids, [op.rows, 1, op.ids_stride])?;
    if let Some(features) = op.features {
        let rows = [op.rows, features.width, features.stride];
        recorder.check_rows("features", features.region, rows)?;
    }
    let columns = op.written();
    let rows = [op.rows, columns, op.target_stride];
    recorder.check_rows("embedded rows", op.target, rows)?;
    let elements = recorder.count("embedded elements", &[op.rows, columns])?;
    let (features, features_stride) = match op.features {
        Some(features) => (features.region, features.stride),
        None => (op.ids, 0),
    };
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            table_offset: op.table.offset as u32,
            entries: op.entries as u32,
            width: op.width as u32,
            ids_offset: op.ids.offset as u32,
            ids_stride: op.ids_stride as u32,
            features_offset: features.offset as u32,
            features_stride: features_stride as u32,
            result_offset: op.target.offset as u32,
            result_stride: op.target_stride as u32,
            columns: columns as u32,
            elements: elements as u32,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.table.buffer),
            Binding::Read(op.ids.buffer),
            Binding::Read(features.buffer),
            Binding::ReadWrite(op.target.buffer),
        ],
        workgroups: recorder.linear(elements, LINEAR)?,
        cost: elements as u64,
    })
}
