//! [`ColumnSums`] on the GPU: a workgroup owns 16 columns, very tall matrices take several dispatches.

use crate::error::Result;
use crate::gpu::element::{Element, Pack};
use crate::gpu::kernel::lib;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{ColumnSums, Precision};

/// Columns of a workgroup.
const COLUMNS: usize = 16;
/// Rows of one dispatch: at least 16 invocations walk a column, and Mesa's software adapter silently ends an invocation's loops
/// after 65,535 iterations in total.
const ROWS_PER_DISPATCH: usize = 16 * 32_768;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    result_offset: u32,
    columns: u32,
    row_start: u32,
    row_end: u32,
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
    let mut row_start = 0;
    // A sum over no rows still writes zeros.
    loop {
        let row_end = op.rows.min(row_start + ROWS_PER_DISPATCH);
        recorder.dispatch(&Dispatch {
            shader: &shader,
            overrides: &[("MULTIPLY", f64::from(u8::from(op.b.is_some())))],
            uniform: bytemuck::bytes_of(&Params {
                a_offset: packs(op.a.offset),
                a_stride: packs(op.a_stride),
                b_offset: packs(b.offset),
                b_stride: packs(op.b_stride),
                result_offset: packs(op.target.offset),
                columns: packs(op.columns),
                row_start: row_start as u32,
                row_end: row_end as u32,
                accumulate: u32::from(op.accumulate || row_start > 0),
            }),
            step: None,
            bindings: &[
                Binding::Read(op.a.buffer),
                Binding::Read(b.buffer),
                Binding::ReadWrite(op.target.buffer),
            ],
            workgroups: recorder.linear(op.columns, COLUMNS)?,
            cost: (row_end - row_start) as u64 * op.columns as u64,
        })?;
        row_start = row_end;
        if row_start >= op.rows {
            return Ok(());
        }
    }
}
