//! [`Gemm`] with weights: they are packed into panels once for each version, and rows are multiplied where they lie, straight
//! through the table if there is one.

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::panels::{Block, LaneRun, Panels, TERMS, for_row_groups, product, product_of_row};
use crate::cpu::parallel::{for_chunks, threads};
use crate::cpu::simd::{lanes, load_all, store_all};
use crate::error::Result;
use crate::ops::{BufferId, Gemm, Matrix, RowMap};

/// Vectors of columns that are computed together.
const VECTORS: usize = 4;
/// Fewer multiplications than this are done by one thread.
const WORTH_SPLITTING: usize = 1 << 17;

/// A matrix of weights, `[terms, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatrixSource {
    matrix: Matrix,
    terms: usize,
    columns: usize,
}

impl MatrixSource {
    /// The weights of an operation that is served here: rows of `a` and `c` are contiguous and each can be taken by itself.
    pub(super) fn new(op: &Gemm) -> Option<Self> {
        let contiguous = op.a.strides[1] == 1 && op.c.strides[1] == 1 && op.c.strides[0] >= op.n;
        let by_rows = matches!(op.map, None | Some(RowMap::GatherM(_)));
        let wide = op.n >= 8 && op.k > 0 && op.m > 0;
        (contiguous && by_rows && wide).then_some(Self {
            matrix: op.b,
            terms: op.k,
            columns: op.n,
        })
    }

    /// The buffer of the weights.
    pub(super) fn weights(&self) -> BufferId {
        self.matrix.region.buffer
    }

    /// Room for the panels.
    pub(super) fn panels(&self, pool: &Arc<MemoryPool>, arch: Arch) -> Result<Panels> {
        let panels = self.columns.div_ceil(VECTORS * lanes(arch));
        Panels::new(pool, arch, [panels, self.terms, VECTORS])
    }

    /// Fills them.
    pub(super) fn fill(&self, panels: &mut Panels, weights: &[f32]) {
        let (lanes, [row, column]) = (panels.lanes(), self.matrix.strides);
        panels.fill(weights, |panel, term, vector| {
            let first = (panel * VECTORS + vector) * lanes;
            LaneRun {
                start: self.matrix.region.offset + term * row + first * column,
                stride: column,
                len: self.columns.saturating_sub(first),
            }
        });
    }
}

/// The operands of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) op: &'a Gemm,
    pub(super) a: &'a [f32],
    /// Rows of `a`, if they are gathered.
    pub(super) rows: Option<&'a [u32]>,
    pub(super) panels: &'a Panels,
    pub(super) bias: Option<&'a [f32]>,
}

impl Operands<'_> {
    /// Computes all rows of `c`; threads share out the rows.
    pub(super) fn multiply(&self, c: &mut [f32]) {
        let (op, stride) = (self.op, self.op.c.strides[0]);
        // The last row may end before the next would begin.
        let c = &mut c[..(op.m - 1) * stride + op.n];
        let work = op.m.saturating_mul(op.n).saturating_mul(op.k);
        if work <= WORTH_SPLITTING {
            return self.sweep(0, c);
        }
        let rows = op.m.div_ceil(4 * threads()).clamp(6, 96);
        for_chunks(c, rows * stride, |piece, c| self.sweep(piece * rows, c));
    }

    /// Computes the rows of a piece of `c` that begins with row `first`.
    fn sweep(&self, first: usize, c: &mut [f32]) {
        let count = c.len().div_ceil(self.op.c.strides[0]);
        self.panels.dispatch(Sweep {
            operands: *self,
            first,
            count,
            c,
        });
    }

    fn row(&self, row: usize) -> &[f32] {
        let row = self.rows.map_or(row, |rows| rows[row] as usize);
        &self.a[row * self.op.a.strides[0]..][..self.op.k]
    }
}

/// Some rows.
struct Sweep<'a> {
    operands: Operands<'a>,
    first: usize,
    count: usize,
    c: &'a mut [f32],
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let op = self.operands.op;
        // A block of a panel's terms stays in the nearest cache while all rows pass.
        for block in (0..op.k).step_by(TERMS) {
            let terms = block..op.k.min(block + TERMS);
            let panels = self.operands.panels;
            let columns = |panel: usize| Columns {
                simd,
                block: panels.block::<S>(panel, terms.clone()),
                terms: terms.clone(),
                first: panel * VECTORS * S::F32_LANES,
            };
            let count = op.n.div_ceil(VECTORS * S::F32_LANES);
            let mut done = 0;
            if self.count == 1 {
                while done + 2 <= count {
                    let pair = [columns(done), columns(done + 1)];
                    Columns::compute_pair(pair, &mut self);
                    done += 2;
                }
            }
            for panel in done..count {
                let columns = columns(panel);
                for_row_groups!(S, self.count, row, R => columns.compute::<R>(&mut self, row));
            }
        }
    }
}

/// Some columns and terms.
struct Columns<'a, S: Simd> {
    simd: S,
    block: Block<'a, S::f32s>,
    terms: std::ops::Range<usize>,
    first: usize,
}

impl<S: Simd> Columns<'_, S> {
    /// Adds these terms to `R` rows from `row` on.
    #[inline(always)]
    fn compute<const R: usize>(&self, sweep: &mut Sweep<'_>, row: usize) {
        let simd = self.simd;
        let operands = sweep.operands;
        let op = operands.op;
        let mut inputs: [&[f32]; R] = [&[]; R];
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
        for r in 0..R {
            inputs[r] = &operands.row(sweep.first + row + r)[self.terms.clone()];
            sums[r] = self.start(sweep, row + r);
        }
        let sums = product(simd, self.block.of_group(row / R), inputs, sums);
        for (r, sums) in sums.into_iter().enumerate() {
            store_all(simd, &mut sweep.c[self.columns(op, row + r)], sums);
        }
    }

    /// Adds these terms to the only row.
    #[inline(always)]
    fn compute_pair(pair: [Self; 2], sweep: &mut Sweep<'_>) {
        let [first, second] = &pair;
        let operands = sweep.operands;
        let row = &operands.row(sweep.first)[first.terms.clone()];
        let sums = [first.start(sweep, 0), second.start(sweep, 0)];
        let panels = [first.block.panel, second.block.panel];
        let sums = product_of_row(first.simd, panels, row, sums);
        for (columns, sums) in pair.iter().zip(sums) {
            store_all(
                columns.simd,
                &mut sweep.c[columns.columns(operands.op, 0)],
                sums,
            );
        }
    }

    /// What a row's sums start from.
    #[inline(always)]
    fn start(&self, sweep: &Sweep<'_>, row: usize) -> [S::f32s; VECTORS] {
        let (simd, op) = (self.simd, sweep.operands.op);
        let mut sums = [simd.splat_f32s(0.0); VECTORS];
        if self.terms.start > 0 || op.accumulate {
            sums = load_all(simd, &sweep.c[self.columns(op, row)]);
        }
        if let (0, Some(bias)) = (self.terms.start, sweep.operands.bias) {
            let bias: [S::f32s; VECTORS] = load_all(simd, &bias[self.columns(op, 0)]);
            for v in 0..VECTORS {
                sums[v] = simd.add_f32s(sums[v], bias[v]);
            }
        }
        sums
    }

    /// These columns of a row of `c`.
    #[inline(always)]
    fn columns(&self, op: &Gemm, row: usize) -> std::ops::Range<usize> {
        let start = row * op.c.strides[0];
        start + self.first..start + op.n.min(self.first + VECTORS * S::F32_LANES)
    }
}
