//! [`EmbeddingRowsBackward`] on the GPU: a workgroup owns 16 elements of the table. Small tables have few workgroups, so
//! there the rows are split and the splits' sums added up in a fixed order, as [`gemm`](super::gemm) does.

use crate::error::Result;
use crate::gpu::kernel::row_splits::RowSplits;
use crate::gpu::kernel::{gemm, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{EmbeddingRowsBackward, Matrix};

/// Elements of the table that a workgroup owns.
const ELEMENTS: usize = 16;
/// 16 invocations walk the rows of a split, and Mesa's software adapter silently ends an invocation's loops after 65,535
/// iterations in total.
const SPLITS: RowSplits = RowSplits {
    groups: 512,
    fewest: 512,
    most: 16 * 32_768,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    gradient_offset: u32,
    gradient_stride: u32,
    ids_offset: u32,
    ids_stride: u32,
    result_offset: u32,
    width: u32,
    elements: u32,
    rows: u32,
    split_rows: u32,
    tiles: u32,
    first_group: u32,
    groups: u32,
    accumulate: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "embedding_rows_backward",
        &[
            lib::INDEX,
            lib::NUMBER,
            include_str!("../../../shaders/embedding_rows_backward.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &EmbeddingRowsBackward, recorder: &mut Recorder<'_>) -> Result<()> {
    op.validate()?;
    let gradient = op.gradient;
    let width = gradient.width;
    let rows = [op.rows, width, gradient.stride];
    recorder.check_rows("gradient of embeddings", gradient.region, rows)?;
    recorder.check_rows("ids", op.ids, [op.rows, 1, op.ids_stride])?;
    let elements = recorder.count("embedding table", &[op.entries, width])?;
    recorder.check("gradient of an embedding table", op.target, elements)?;
    let tiles = elements.div_ceil(ELEMENTS);
    let [splits, split_rows] = SPLITS.of(op.rows, tiles);
    let groups = recorder.count("workgroups of an embedding table", &[tiles, splits])?;
    let is_split = splits > 1;
    if is_split {
        recorder.reserve_scratch(recorder.count("split embedding tables", &[elements, splits])?);
    }
    let cost = split_rows as u64 * ELEMENTS as u64;
    let chunk = recorder.affordable(cost);
    for first in (0..groups).step_by(chunk) {
        let count = chunk.min(groups - first);
        recorder.dispatch(&Dispatch {
            shader: &shader(),
            overrides: &[],
            uniform: bytemuck::bytes_of(&Params {
                gradient_offset: gradient.region.offset as u32,
                gradient_stride: gradient.stride as u32,
                ids_offset: op.ids.offset as u32,
                ids_stride: op.ids_stride as u32,
                result_offset: if is_split { 0 } else { op.target.offset } as u32,
                width: width as u32,
                elements: elements as u32,
                rows: op.rows as u32,
                split_rows: split_rows as u32,
                tiles: tiles as u32,
                first_group: first as u32,
                groups: (first + count) as u32,
                accumulate: u32::from(op.accumulate && !is_split),
            }),
            step: None,
            bindings: &[
                Binding::Read(gradient.region.buffer),
                Binding::Read(op.ids.buffer),
                match is_split {
                    true => Binding::ScratchWrite,
                    false => Binding::ReadWrite(op.target.buffer),
                },
            ],
            workgroups: recorder.linear(count, 1)?,
            cost: count as u64 * cost,
        })?;
    }
    if is_split {
        let sums = gemm::SplitSums {
            target: Matrix::rows(op.target, width),
            size: [op.entries, width],
            splits,
            accumulate: op.accumulate,
        };
        sums.record(recorder)?;
    }
    Ok(())
}
