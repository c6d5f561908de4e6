//! Split sums: a product with few results and many terms, as weight gradients are, would leave most of a GPU idle. Groups of
//! terms get workgroups of their own, and a second dispatch adds up their results in a fixed order.

use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{Gemm, Matrix, Precision, RowMap};

/// Workgroups that fill a GPU some times over.
const GPU_GROUPS: usize = 512;
/// Workgroups for each thread of a software adapter.
const SOFTWARE_GROUPS: usize = 4;
/// Fewest terms of a split.
const FEWEST_TERMS: usize = 512;
/// Elements of the scratch buffer at most: beyond that there are results enough to fill a GPU without splits.
const SCRATCH: usize = 1 << 22;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    elements: u32,
    splits: u32,
    columns: u32,
    c_offset: u32,
    c_strides: [u32; 2],
    accumulate: u32,
}

/// How a sum is split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    pub(super) splits: usize,
    /// Terms of each; a multiple of 16.
    pub(super) terms: usize,
}

impl Split {
    /// For a product whose results are `tiles` workgroups, and of which one dispatch sums `terms` at most.
    pub(super) fn new(op: &Gemm, recorder: &Recorder<'_>, tiles: usize, terms: usize) -> Self {
        let whole = Self { splits: 1, terms };
        let elements = op.m * op.n;
        if op.bias.is_some() || matches!(op.map, Some(RowMap::ScatterM(_))) || op.k > terms {
            return whole;
        }
        let groups = match recorder.software_threads() {
            Some(threads) => threads * SOFTWARE_GROUPS,
            None => GPU_GROUPS,
        };
        let wanted = (groups / tiles.max(1))
            .min(op.k / FEWEST_TERMS)
            .min(SCRATCH / elements.max(1));
        if wanted < 2 {
            return whole;
        }
        let terms = op.k.div_ceil(wanted).next_multiple_of(16);
        Self {
            splits: op.k.div_ceil(terms),
            terms,
        }
    }

    pub(super) fn is_needed(&self) -> bool {
        self.splits > 1
    }

    /// Where the kernel writes: offset, row and column strides, and from one split to the next.
    pub(super) fn target(&self, op: &Gemm) -> [usize; 4] {
        match self.is_needed() {
            true => [0, op.n, 1, op.m * op.n],
            false => [op.c.region.offset, op.c.strides[0], op.c.strides[1], 0],
        }
    }

    /// Adds up the results of the splits.
    pub(super) fn finish(&self, op: &Gemm, recorder: &mut Recorder<'_>) -> Result<()> {
        if !self.is_needed() {
            return Ok(());
        }
        let sums = SplitSums {
            target: op.c,
            size: [op.m, op.n],
            splits: self.splits,
            accumulate: op.accumulate,
        };
        sums.record(recorder)
    }
}

/// The results of splits, one matrix after the other in the scratch buffer, to be added up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitSums {
    pub(crate) target: Matrix,
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    pub(crate) splits: usize,
    /// Adds to the target instead of replacing it.
    pub(crate) accumulate: bool,
}

impl SplitSums {
    /// Records their sum.
    pub(crate) fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        let (target, [rows, columns]) = (self.target, self.size);
        let elements = rows * columns;
        recorder.reserve_scratch(self.splits * elements);
        recorder.dispatch(&Dispatch {
            shader: &shader(recorder.stored(target.region)),
            overrides: &[],
            uniform: bytemuck::bytes_of(&Params {
                elements: elements as u32,
                splits: self.splits as u32,
                columns: columns as u32,
                c_offset: target.region.offset as u32,
                c_strides: target.strides.map(|stride| stride as u32),
                accumulate: u32::from(self.accumulate),
            }),
            step: None,
            bindings: &[
                Binding::ScratchRead,
                Binding::ReadWrite(target.region.buffer),
            ],
            workgroups: recorder.linear(elements, LINEAR)?,
            cost: (self.splits * elements) as u64,
        })
    }
}

pub(super) fn shader(result: Precision) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "gemm_sum",
        &[
            lib::INDEX,
            include_str!("../../../../shaders/gemm_sum.wgsl"),
        ],
        &[Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&[Element::scalar("C", 1, result)])
}
