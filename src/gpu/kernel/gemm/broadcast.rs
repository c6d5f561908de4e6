//! The kernel for adapters with subgroups: register blocks fed by broadcasts, of matrices whose rows or columns lie together.

use super::part::{Part, SAMPLES, Stored, bindings, map_code, rows_per_dispatch, stored};
use super::split::Split;
use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::kernel::lib;
use crate::gpu::recorder::{Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::gpu::unroll::{Texts, unroll};
use crate::ops::{Gemm, Matrix, RowMap};

/// Terms of a sum in one dispatch. Mesa's software adapter silently ends an invocation's loops after 65,535 iterations in
/// total; one handles 4 terms here.
const TERMS_PER_DISPATCH: usize = 4 * 50_000;

/// Rows of an invocation that there are pipelines for.
const ROWS: [usize; 4] = [64, 32, 16, 8];
/// Rows of an invocation for large products whose `b` is no texture: what is loaded of it, the larger part of the time, serves
/// twice as many. Its pipeline takes seconds to compile.
const TALL: usize = 128;
/// Multiply-adds of a product from which on that is worth it.
const LARGE: usize = 1 << 27;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    c_offset: u32,
    c_row: u32,
    c_split: u32,
    row_start: u32,
    m: u32,
    n: u32,
    k_start: u32,
    k_end: u32,
    terms: u32,
    map: u32,
    bias: u32,
    accumulate: u32,
}

/// Which matrices are whole vec4s, and read or written by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vectors {
    left: bool,
    right: bool,
    /// The result and its bias.
    result: bool,
}

impl Vectors {
    const ALL: Self = Self {
        left: true,
        right: true,
        result: true,
    };
    const NONE: Self = Self {
        left: false,
        right: false,
        result: false,
    };

    /// The shader's parts that read and write them.
    fn sources(self) -> [&'static str; 3] {
        const LEFT: [&str; 2] = [
            include_str!("../../../../shaders/lib/left_one.wgsl"),
            include_str!("../../../../shaders/lib/left_four.wgsl"),
        ];
        const RIGHT: [&str; 2] = [
            include_str!("../../../../shaders/lib/right_one.wgsl"),
            include_str!("../../../../shaders/lib/right_four.wgsl"),
        ];
        const RESULT: [&str; 2] = [
            include_str!("../../../../shaders/lib/result_one.wgsl"),
            include_str!("../../../../shaders/lib/result_four.wgsl"),
        ];
        [
            LEFT[usize::from(self.left)],
            RIGHT[usize::from(self.right)],
            RESULT[usize::from(self.result)],
        ]
    }

    /// The types of `a`, `b`, the bias and `c`.
    fn elements(self, stored: Stored) -> [Element; 4] {
        let [left, right, result] =
            [self.left, self.right, self.result].map(|vectors| match vectors {
                true => Element::vector,
                false => Element::scalar,
            });
        [
            left("A", 0, stored[0]),
            right("PackedWeights", 1, stored[1]),
            result("Bias", 2, stored[2]),
            result("C", 4, stored[3]),
        ]
    }

    /// What tells the shader's name from that of whole vec4s.
    fn suffix(self) -> String {
        let parts = [
            (self.left, "_left_one"),
            (self.right, "_right_one"),
            (self.result, "_result_one"),
        ];
        let ones = parts.into_iter().filter(|(vectors, _)| !vectors);
        ones.map(|(_, name)| name).collect()
    }
}

fn shader(rows: usize, texture: bool, vectors: Vectors, stored: Stored) -> Shader {
    use Access::{Read, ReadWrite, Texture};
    static SOURCES: Texts<usize> = Texts::new();
    let source = SOURCES.get(rows, || {
        let marks = [("ROW", rows), ("BLOCK", rows / 4), ("LOAD", rows / 8)];
        let source = include_str!("../../../../shaders/gemm_broadcast.wgsl");
        format!("const ROWS: u32 = {rows}u;\n{}", unroll(source, &marks))
    });
    let mut elements = vectors.elements(stored).to_vec();
    if texture {
        // A load from a texture is single precision, whatever its format.
        elements.remove(1);
    }
    let (b, suffix) = match texture {
        true => (Texture(stored[1]), "_texture"),
        false => (Read, ""),
    };
    let [format, weights] = lib::weights(texture.then_some(stored[1]));
    let [left, right, result] = vectors.sources();
    Shader::new(
        format!("gemm_broadcast_{rows}{}{suffix}", vectors.suffix()),
        &[
            "const WEIGHTS_BINDING: i32 = 1;",
            format,
            weights,
            left,
            right,
            result,
            &source,
        ],
        &[Read, b, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&elements)
    .with_subgroups()
}

pub(super) fn shaders() -> Vec<Shader> {
    let layouts = [
        (0, true, false),
        (1, true, true),
        (2, false, false),
        (3, true, false),
    ];
    let of_rows = |(rows, texture, vectors, stored)| {
        layouts.map(|(map, a_along_k, b_along_k)| {
            let plan = Plan {
                rows,
                workgroup: 64,
                a_along_k,
                b_along_k,
                texture,
                vectors,
            };
            let shader = shader(rows, texture, vectors, stored);
            shader.with_overrides(&plan.overrides(map, map == 0))
        })
    };
    let forms = ROWS.into_iter().flat_map(|rows| {
        let stored = SAMPLES
            .into_iter()
            .take(if rows == 8 { SAMPLES.len() } else { 1 });
        stored.flat_map(move |stored| {
            [
                (rows, false, Vectors::ALL, stored),
                (rows, true, Vectors::ALL, stored),
                (rows, false, Vectors::NONE, stored),
            ]
        })
    });
    let forms = forms.chain([(TALL, false, Vectors::ALL, SAMPLES[0])]);
    forms.flat_map(of_rows).collect()
}

/// How the kernel handles a product.
pub(super) struct Plan {
    rows: usize,
    workgroup: usize,
    a_along_k: bool,
    b_along_k: bool,
    /// `b` by a texture.
    texture: bool,
    vectors: Vectors,
}

impl Plan {
    /// `None` if the adapter's subgroups or the matrices do not suit.
    pub(super) fn new(op: &Gemm, recorder: &Recorder<'_>) -> Option<Self> {
        let subgroup = recorder.subgroup_size()?;
        // On a GPU tiles in workgroup memory are the proven choice; there is none here to compare on.
        recorder.software_threads()?;
        let a_along_k = op.a.strides[1] == 1;
        let b_along_k = op.b.strides[1] != 1;
        let along = [usize::from(a_along_k), usize::from(!b_along_k), 1];
        let together = |(matrix, along): (Matrix, usize)| matrix.strides[along] == 1;
        let suits = [op.a, op.b, op.c].into_iter().zip(along).all(together) && op.k > 0;
        let mapped = match op.map {
            Some(RowMap::GatherM(_)) => a_along_k,
            Some(RowMap::GatherK(_)) => !a_along_k,
            Some(RowMap::ScatterM(_)) | None => true,
        };
        if !(suits && mapped) {
            return None;
        }
        // Whether `width` neighbours, from wherever rows begin, are whole vec4s.
        let vectors = |matrix: Matrix, along: usize, width: usize| {
            let [offset, stride] = [matrix.region.offset, matrix.strides[1 - along]];
            [offset, stride, width]
                .iter()
                .all(|of| of.is_multiple_of(4))
        };
        let bias = op.bias.is_none_or(|bias| bias.offset.is_multiple_of(4));
        let vectors = Vectors {
            left: vectors(op.a, along[0], if a_along_k { op.k } else { op.m }),
            right: vectors(op.b, along[1], if b_along_k { op.k } else { op.n }),
            result: vectors(op.c, along[2], op.n) && bias,
        };
        // A tile costs its rows and, measured, some 31 more for what its rows share.
        let cost = |rows: &usize| op.m.div_ceil(*rows) * (rows + 31);
        let texture = vectors.right && recorder.has_texture(op.b.region.buffer);
        let is_large = op.m.saturating_mul(op.n).saturating_mul(op.k) >= LARGE;
        let tall = (!texture && is_large).then_some(TALL);
        let rows = ROWS.into_iter().chain(tall).min_by_key(cost)?;
        Some(Self {
            rows,
            workgroup: subgroup.clamp(8, 64),
            a_along_k,
            b_along_k,
            texture,
            vectors,
        })
    }

    fn overrides(&self, map: u32, has_bias: bool) -> [(&'static str, f64); 5] {
        let flag = |on: bool| f64::from(u8::from(on));
        [
            ("WORKGROUP", self.workgroup as f64),
            ("MAP", map.into()),
            ("HAS_BIAS", flag(has_bias)),
            ("A_ALONG_K", flag(self.a_along_k)),
            ("B_ALONG_K", flag(self.b_along_k)),
        ]
    }
}

pub(super) fn record(op: &Gemm, plan: &Plan, recorder: &mut Recorder<'_>) -> Result<()> {
    let (map, map_offset) = map_code(op);
    let columns = op.n.div_ceil(4 * plan.workgroup);
    let tiles = columns * op.m.div_ceil(plan.rows);
    let split = Split::new(op, recorder, tiles, TERMS_PER_DISPATCH);
    let shader = shader(
        plan.rows,
        plan.texture,
        plan.vectors,
        stored(op, &split, recorder),
    );
    let bindings = bindings(op, &split, plan.texture);
    let counted = |vectors: bool, elements: usize| (elements / if vectors { 4 } else { 1 }) as u32;
    let [a, b, c] = [plan.vectors.left, plan.vectors.right, plan.vectors.result]
        .map(|vectors| move |elements| counted(vectors, elements));
    let [c_offset, c_row, _, c_split] = split.target(op).map(&c);
    let padded = columns * plan.workgroup * 4;
    let terms = op.k.min(TERMS_PER_DISPATCH);
    let rows = rows_per_dispatch(recorder, plan.rows, [padded, terms]);
    for part in Part::all(op, rows, TERMS_PER_DISPATCH) {
        let first = part.is_first();
        let params = Params {
            a_offset: a(op.a.region.offset),
            a_stride: a(op.a.strides[usize::from(!plan.a_along_k)]),
            b_offset: b(op.b.region.offset),
            b_stride: b(op.b.strides[usize::from(plan.b_along_k)]),
            c_offset,
            c_row,
            c_split,
            row_start: part.rows[0] as u32,
            m: part.rows[1] as u32,
            n: op.n as u32,
            k_start: part.terms[0] as u32,
            k_end: part.terms[1] as u32,
            terms: split.terms as u32,
            map: map_offset,
            bias: op.bias.map_or(0, |bias| c(bias.offset)),
            accumulate: u32::from(!first || (op.accumulate && !split.is_needed())),
        };
        let tall = (part.rows[1] - part.rows[0]).div_ceil(plan.rows);
        recorder.dispatch(&Dispatch {
            shader: &shader,
            overrides: &plan.overrides(map, first && op.bias.is_some()),
            uniform: bytemuck::bytes_of(&params),
            step: None,
            bindings: &bindings,
            workgroups: [columns as u32, tall as u32, split.splits as u32],
            cost: (tall * plan.rows * padded) as u64 * (part.terms[1] - part.terms[0]) as u64,
        })?;
    }
    split.finish(op, recorder)
}
