//! [`Gemm`] on the GPU: 64 x 64 tiles through workgroup memory, long sums and tall results in several dispatches.

use crate::error::Result;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{Gemm, Matrix, RowMap};

/// Rows and columns of a workgroup's tile; `main` in the shader.
const TILE: usize = 64;
/// Terms of a sum in one dispatch. Mesa's software adapter silently ends an invocation's loops after 65,535 iterations in
/// total; 17 iterations handle 16 terms here.
const TERMS_PER_DISPATCH: usize = 32_768;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    a_offset: u32,
    a_strides: [u32; 2],
    b_offset: u32,
    b_strides: [u32; 2],
    c_offset: u32,
    c_strides: [u32; 2],
    row_start: u32,
    m: u32,
    n: u32,
    k_start: u32,
    k_end: u32,
    map: u32,
    bias: u32,
    has_bias: u32,
    accumulate: u32,
}

fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "gemm",
        &[include_str!("../../../shaders/gemm.wgsl")],
        &[Read, Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn shaders() -> Vec<Shader> {
    let typical =
        |map, a_along_k, b_along_k| shader().with_overrides(&overrides(map, a_along_k, b_along_k));
    vec![
        typical(0, true, false),
        typical(1, true, true),
        typical(2, false, false),
        typical(3, true, false),
    ]
}

fn overrides(map: u32, a_along_k: bool, b_along_k: bool) -> [(&'static str, f64); 3] {
    [
        ("MAP", map.into()),
        ("A_ALONG_K", f64::from(u8::from(a_along_k))),
        ("B_ALONG_K", f64::from(u8::from(b_along_k))),
    ]
}

pub(crate) fn record(op: &Gemm, recorder: &mut Recorder<'_>) -> Result<()> {
    check(op, recorder)?;
    let shader = shader();
    let (map, map_offset) = match op.map {
        None => (0, 0),
        Some(RowMap::GatherM(table)) => (1, table.0),
        Some(RowMap::GatherK(table)) => (2, table.0),
        Some(RowMap::ScatterM(table)) => (3, table.0),
    };
    let overrides = overrides(
        map,
        op.a.strides[1] <= op.a.strides[0],
        op.b.strides[0] < op.b.strides[1],
    );
    let bindings = [
        Binding::Read(op.a.region.buffer),
        Binding::Read(op.b.region.buffer),
        // Without a bias something readable has to be bound.
        Binding::Read(op.bias.map_or(op.b.region.buffer, |bias| bias.buffer)),
        Binding::Table,
        Binding::ReadWrite(op.c.region.buffer),
    ];
    let rows = rows_per_dispatch(op, recorder);
    for row_start in (0..op.m).step_by(rows) {
        let row_end = op.m.min(row_start + rows);
        let mut k_start = 0;
        // A sum over no terms still writes zeros or the bias.
        loop {
            let k_end = op.k.min(k_start + TERMS_PER_DISPATCH);
            let first = k_start == 0;
            let params = Params {
                a_offset: op.a.region.offset as u32,
                a_strides: op.a.strides.map(|stride| stride as u32),
                b_offset: op.b.region.offset as u32,
                b_strides: op.b.strides.map(|stride| stride as u32),
                c_offset: op.c.region.offset as u32,
                c_strides: op.c.strides.map(|stride| stride as u32),
                row_start: row_start as u32,
                m: row_end as u32,
                n: op.n as u32,
                k_start: k_start as u32,
                k_end: k_end as u32,
                map: map_offset as u32,
                bias: op.bias.map_or(0, |bias| bias.offset) as u32,
                has_bias: u32::from(first && op.bias.is_some()),
                accumulate: u32::from(!first || op.accumulate),
            };
            let tiles = [op.n.div_ceil(TILE), (row_end - row_start).div_ceil(TILE)];
            recorder.dispatch(&Dispatch {
                shader: &shader,
                overrides: &overrides,
                uniform: bytemuck::bytes_of(&params),
                step: None,
                bindings: &bindings,
                workgroups: [tiles[0] as u32, tiles[1] as u32, 1],
                cost: (tiles[0] * tiles[1] * TILE * TILE) as u64 * (k_end - k_start).max(1) as u64,
            })?;
            k_start = k_end;
            if k_start >= op.k {
                break;
            }
        }
    }
    Ok(())
}

/// As many rows, in whole tiles, as the dimension's workgroups and one submission's budget allow.
fn rows_per_dispatch(op: &Gemm, recorder: &Recorder<'_>) -> usize {
    let terms = op.k.clamp(1, TERMS_PER_DISPATCH);
    let tile_row = (op.n.div_ceil(TILE) * TILE * TILE) as u64 * terms as u64;
    let most = recorder.limits().max_compute_workgroups_per_dimension as usize;
    recorder.affordable(tile_row).min(most) * TILE
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
