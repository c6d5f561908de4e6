//! [`Gemm`] on the GPU: by the kernel that suits the matrices and the adapter, long sums and tall results in several
//! dispatches, sums of small results split over workgroups and added up in a fixed order.

mod broadcast;
mod part;
mod split;
mod staged;

use crate::error::Result;
use crate::gpu::recorder::Recorder;
use crate::gpu::shader::Shader;
use crate::ops::{Gemm, Matrix, Precision, RowMap};

pub(crate) use split::SplitSums;

pub(crate) fn shaders() -> Vec<Shader> {
    let mut shaders = staged::shaders();
    shaders.extend(broadcast::shaders());
    shaders.extend([Precision::F32, Precision::F16].map(split::shader));
    shaders
}

pub(crate) fn record(op: &Gemm, recorder: &mut Recorder<'_>) -> Result<()> {
    check(op, recorder)?;
    match broadcast::Plan::new(op, recorder) {
        Some(plan) => broadcast::record(op, &plan, recorder),
        None => staged::record(op, recorder),
    }
}

fn check(op: &Gemm, recorder: &Recorder<'_>) -> Result<()> {
    let extent = |what, matrix: Matrix, rows: usize, columns: usize| match rows.min(columns) {
        0 => Ok(()),
        _ => {
            let row = (rows - 1).saturating_mul(matrix.strides[0]);
            let column = (columns - 1).saturating_mul(matrix.strides[1]);
            let elements = row.saturating_add(column).saturating_add(1);
            recorder.check(what, matrix.region, elements)
        }
    };
    let mapped = |table, len| recorder.table_bound("a mapped product", table, len);
    let (mut a, mut c_rows) = ([op.m, op.k], op.m);
    match op.map {
        None => {}
        Some(RowMap::GatherM(table)) => a[0] = mapped(table, op.m)?,
        Some(RowMap::GatherK(table)) => a[1] = mapped(table, op.k)?,
        Some(RowMap::ScatterM(table)) => c_rows = mapped(table, op.m)?,
    }
    extent("left factor", op.a, a[0], a[1])?;
    extent("right factor", op.b, op.k, op.n)?;
    extent("product", op.c, c_rows, op.n)?;
    match op.bias {
        None => Ok(()),
        Some(bias) => recorder.check("bias", bias, op.n),
    }
}
