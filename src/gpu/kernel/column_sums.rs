//! [`ColumnSums`] on the GPU: a workgroup owns neighbouring columns, so that it reads whole cache lines. Rows are split where
//! there are many, and the splits' sums added up in a fixed order, as [`gemm`](super::gemm) does.

use crate::error::Result;
use crate::gpu::element::{Element, Pack};
use crate::gpu::kernel::row_splits::RowSplits;
use crate::gpu::kernel::{LINEAR, gemm, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{ColumnSums, Matrix, Precision};

/// Values side by side of a workgroup at most; fewer leave more invocations for the rows.
const WIDEST: usize = 64;
/// At least four invocations walk the rows of a split, and Mesa's software adapter silently ends an invocation's loops after
/// 65,535 iterations in total.
const SPLITS: RowSplits = RowSplits {
    groups: 128,
    fewest: 128,
    most: LINEAR / WIDEST * 32_768,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    result_offset: u32,
    columns: u32,
    blocks: u32,
    rows: u32,
    split_rows: u32,
    accumulate: u32,
}

pub(crate) fn shader(pack: Pack, [a, b]: [Precision; 2]) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        pack.label("column_sums"),
        &[
            pack.module(),
            lib::INDEX,
            include_str!("../../../shaders/column_sums.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&[
        Element::packed("A", 0, a, pack),
        Element::packed("B", 1, b, pack),
    ])
    .with_overrides(&[("MULTIPLY", 1.0)])
}

pub(crate) fn record(op: &ColumnSums, recorder: &mut Recorder<'_>) -> Result<()> {
    let b = op.b.unwrap_or(op.a);
    recorder.check_rows("summed rows", op.a, [op.rows, op.columns, op.a_stride])?;
    if op.b.is_some() {
        recorder.check_rows("factors", b, [op.rows, op.columns, op.b_stride])?;
    }
    recorder.check("sums", op.target, op.columns)?;
    let pack = Pack::of(&[
        op.a.offset,
        op.a_stride,
        b.offset,
        op.b_stride,
        op.target.offset,
        op.columns,
    ]);
    let shader = shader(pack, [op.a, b].map(|rows| recorder.stored(rows)));
    let packs = |numbers: usize| (numbers / pack.width()) as u32;
    let columns = op.columns / pack.width();
    let widest = columns.next_power_of_two().min(WIDEST);
    let blocks = columns.div_ceil(widest);
    let [splits, split_rows] = SPLITS.of(op.rows, blocks);
    let is_split = splits > 1;
    if is_split {
        recorder.reserve_scratch(recorder.count("split sums", &[splits, op.columns])?);
    }
    recorder.dispatch(&Dispatch {
        shader: &shader,
        overrides: &[
            ("MULTIPLY", f64::from(u8::from(op.b.is_some()))),
            ("COLUMNS", widest as f64),
        ],
        uniform: bytemuck::bytes_of(&Params {
            a_offset: packs(op.a.offset),
            a_stride: packs(op.a_stride),
            b_offset: packs(b.offset),
            b_stride: packs(op.b_stride),
            result_offset: if is_split { 0 } else { packs(op.target.offset) },
            columns: columns as u32,
            blocks: blocks as u32,
            rows: op.rows as u32,
            split_rows: split_rows as u32,
            accumulate: u32::from(op.accumulate && !is_split),
        }),
        step: None,
        bindings: &[
            Binding::Read(op.a.buffer),
            Binding::Read(b.buffer),
            match is_split {
                true => Binding::ScratchWrite,
                false => Binding::ReadWrite(op.target.buffer),
            },
        ],
        workgroups: recorder.linear(recorder.count("workgroups", &[blocks, splits])?, 1)?,
        cost: op.rows as u64 * op.columns as u64,
    })?;
    if is_split {
        let sums = gemm::SplitSums {
            target: Matrix::rows(op.target, op.columns),
            size: [1, op.columns],
            splits,
            accumulate: op.accumulate,
        };
        sums.record(recorder)?;
    }
    Ok(())
}
