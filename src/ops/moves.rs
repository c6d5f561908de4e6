//! Operations that move elements or work on each by itself.

use crate::ops::{BufferId, Region, TableOffset};

/// `target[0..len] = value`
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Where.
    pub target: Region,
    /// How many elements.
    pub len: usize,
    /// What.
    pub value: f32,
}

/// What [`Elementwise`] computes from `a` and `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementwiseKind {
    /// `target = a`
    Copy,
    /// `target += a`
    Accumulate,
    /// `target = a * b`
    Multiply,
}

/// `target[i] = f(a[i], b[i])` for `i < len`. `a` and `b` may be the same buffer; `target`'s buffer must be another.
#[derive(Debug, Clone, Copy)]
pub struct Elementwise {
    /// What is computed.
    pub kind: ElementwiseKind,
    /// First operand.
    pub a: Region,
    /// Second operand of [`ElementwiseKind::Multiply`]; pass `a` where it is not used.
    pub b: Region,
    /// Result.
    pub target: Region,
    /// How many elements.
    pub len: usize,
}

/// One matrix of [`StridedCopies`]: `target[r * ts0 + c * ts1] = source[r * ss0 + c * ss1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyJob {
    /// First element in the source buffer.
    pub source: usize,
    /// First element in the target buffer.
    pub target: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// The source's strides of a row and of a column.
    pub source_strides: [usize; 2],
    /// The target's strides of a row and of a column.
    pub target_strides: [usize; 2],
}

/// Many small strided matrix copies between two buffers in one dispatch: packs weights, unpacks gradients. No two jobs
/// write the same element.
#[derive(Debug, Clone)]
pub struct StridedCopies {
    /// Read.
    pub source: BufferId,
    /// Written.
    pub target: BufferId,
    /// What is copied.
    pub jobs: Vec<CopyJob>,
    /// Adds to the target instead of replacing it.
    pub accumulate: bool,
}

/// `target[i * target_stride + j] = source[rows_table[i] * source_stride + j]`
#[derive(Debug, Clone, Copy)]
pub struct GatherRows {
    /// Read.
    pub source: Region,
    /// Elements from one source row to the next.
    pub source_stride: usize,
    /// Written.
    pub target: Region,
    /// Elements from one target row to the next.
    pub target_stride: usize,
    /// The source row of each target row.
    pub table: TableOffset,
    /// Rows to write.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}
