//! [`Gemm`] on the GPU: by the kernel that suits the matrices and the adapter, long sums and tall results in several
//! dispatches, sums of small results split over workgroups and added up in a fixed order.

mod broadcast;
mod split;
mod staged;

use crate::error::Result;
use crate::gpu::recorder::{Binding, Recorder};
use crate::gpu::shader::Shader;
use crate::ops::{Gemm, Matrix, Precision, RowMap};

use split::Split;
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

/// A part of a product that one dispatch computes.
struct Part {
    /// Row and end of rows.
    rows: [usize; 2],
    /// First term and end of terms.
    terms: [usize; 2],
}

impl Part {
    /// The parts of `op` in the order in which they have to run; those after the first of the same rows add to it.
    fn all(op: &Gemm, rows: usize, terms: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        for row in (0..op.m).step_by(rows) {
            // A sum over no terms still writes zeros or the bias.
            for term in (0..op.k.max(1)).step_by(terms) {
                parts.push(Self {
                    rows: [row, op.m.min(row + rows)],
                    terms: [term, op.k.min(term + terms)],
                });
            }
        }
        parts
    }

    /// Whether nothing has been summed for these rows.
    fn is_first(&self) -> bool {
        self.terms[0] == 0
    }
}

/// The table's use by code, and its first word.
fn map_code(op: &Gemm) -> (u32, u32) {
    match op.map {
        None => (0, 0),
        Some(RowMap::GatherM(table)) => (1, table.0 as u32),
        Some(RowMap::GatherK(table)) => (2, table.0 as u32),
        Some(RowMap::ScatterM(table)) => (3, table.0 as u32),
    }
}

/// What both kernels bind, the right factor as a `texture` if asked. The result goes to the scratch buffer if the sum is split.
fn bindings(op: &Gemm, split: &Split, texture: bool) -> [Binding; 5] {
    [
        Binding::Read(op.a.region.buffer),
        match texture {
            true => Binding::Texture(op.b.region.buffer),
            false => Binding::Read(op.b.region.buffer),
        },
        // Without a bias something readable has to be bound.
        Binding::Read(op.bias.map_or(op.b.region.buffer, |bias| bias.buffer)),
        Binding::Table,
        match split.is_needed() {
            true => Binding::ScratchWrite,
            false => Binding::ReadWrite(op.c.region.buffer),
        },
    ]
}

/// How a product's operands are stored: `a`, `b`, the bias and what is written.
type Stored = [Precision; 4];

/// Single precision throughout, and what a network with half precision multiplies: its projections, and the gradients.
const SAMPLES: [Stored; 4] = {
    use Precision::{F16, F32};
    [
        [F32; 4],
        [F32, F16, F16, F16],
        [F16; 4],
        [F16, F16, F16, F32],
    ]
};

fn stored(op: &Gemm, split: &Split, recorder: &Recorder<'_>) -> Stored {
    [
        recorder.stored(op.a.region),
        recorder.stored(op.b.region),
        recorder.stored(op.bias.unwrap_or(op.b.region)),
        match split.is_needed() {
            true => Precision::F32,
            false => recorder.stored(op.c.region),
        },
    ]
}

/// As many rows, in whole tiles of `tile` rows, as the dimension's workgroups and one submission's budget allow, for
/// `padded` columns and `terms` terms.
fn rows_per_dispatch(recorder: &Recorder<'_>, tile: usize, [padded, terms]: [usize; 2]) -> usize {
    let tile_row = (padded * tile) as u64 * terms as u64;
    let most = recorder.limits().max_compute_workgroups_per_dimension as usize;
    recorder.affordable(tile_row).min(most) * tile
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
