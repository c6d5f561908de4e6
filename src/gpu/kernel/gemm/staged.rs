//! The kernel for any matrices and adapters: 64 x 64 tiles through workgroup memory.

use super::part::{Part, SAMPLES, Stored, bindings, map_code, rows_per_dispatch, stored};
use super::split::Split;
use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::recorder::{Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::Gemm;

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
    terms: u32,
    c_split: u32,
}

fn shader([a, b, bias, c]: Stored) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "gemm",
        &[include_str!("../../../../shaders/gemm.wgsl")],
        &[Read, Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&[
        Element::scalar("A", 0, a),
        Element::scalar("B", 1, b),
        Element::scalar("Bias", 2, bias),
        Element::scalar("C", 4, c),
    ])
}

pub(super) fn shaders() -> Vec<Shader> {
    let layouts = [
        overrides(0, true, false),
        overrides(1, true, true),
        overrides(2, false, false),
        overrides(3, true, false),
    ];
    let of = |stored| layouts.map(|layout| shader(stored).with_overrides(&layout));
    SAMPLES.into_iter().flat_map(of).collect()
}

fn overrides(map: u32, a_along_k: bool, b_along_k: bool) -> [(&'static str, f64); 3] {
    [
        ("MAP", map.into()),
        ("A_ALONG_K", f64::from(u8::from(a_along_k))),
        ("B_ALONG_K", f64::from(u8::from(b_along_k))),
    ]
}

pub(super) fn record(op: &Gemm, recorder: &mut Recorder<'_>) -> Result<()> {
    let (map, map_offset) = map_code(op);
    let overrides = overrides(
        map,
        op.a.strides[1] <= op.a.strides[0],
        op.b.strides[0] < op.b.strides[1],
    );
    let columns = op.n.div_ceil(TILE);
    let tiles = columns * op.m.div_ceil(TILE);
    let split = Split::new(op, recorder, tiles, TERMS_PER_DISPATCH);
    let shader = shader(stored(op, &split, recorder));
    let bindings = bindings(op, &split, false);
    let [c_offset, c_row, c_column, c_split] = split.target(op).map(|value| value as u32);
    let terms = op.k.clamp(1, TERMS_PER_DISPATCH);
    let rows = rows_per_dispatch(recorder, TILE, [columns * TILE, terms]);
    for part in Part::all(op, rows, TERMS_PER_DISPATCH) {
        let first = part.is_first();
        let params = Params {
            a_offset: op.a.region.offset as u32,
            a_strides: op.a.strides.map(|stride| stride as u32),
            b_offset: op.b.region.offset as u32,
            b_strides: op.b.strides.map(|stride| stride as u32),
            c_offset,
            c_strides: [c_row, c_column],
            row_start: part.rows[0] as u32,
            m: part.rows[1] as u32,
            n: op.n as u32,
            k_start: part.terms[0] as u32,
            k_end: part.terms[1] as u32,
            map: map_offset,
            bias: op.bias.map_or(0, |bias| bias.offset) as u32,
            has_bias: u32::from(first && op.bias.is_some()),
            accumulate: u32::from(!first || (op.accumulate && !split.is_needed())),
            terms: split.terms as u32,
            c_split,
        };
        let tiles = columns * (part.rows[1] - part.rows[0]).div_ceil(TILE);
        recorder.dispatch(&Dispatch {
            shader: &shader,
            overrides: &overrides,
            uniform: bytemuck::bytes_of(&params),
            step: None,
            bindings: &bindings,
            workgroups: [
                columns as u32,
                (tiles / columns) as u32,
                split.splits as u32,
            ],
            cost: (tiles * TILE * TILE) as u64 * (part.terms[1] - part.terms[0]).max(1) as u64,
        })?;
    }
    split.finish(op, recorder)
}
