//! Operations that move elements or work on each by itself.

use crate::config::Activation;
use crate::error::{Error, Result};
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

/// What [`Elementwise`] computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ElementwiseKind {
    /// `target = a`
    Copy,
    /// `target += a`
    Accumulate,
    /// `target = a + b`
    Add,
    /// `target = a - b`
    Subtract,
    /// `target = a * b`
    Multiply,
    /// `target += a * b`
    AccumulateProduct,
    /// `target = factor * a`
    Scale {
        /// Any finite number.
        factor: f32,
    },
    /// `target += factor * a`
    AccumulateScaled {
        /// Any finite number.
        factor: f32,
    },
    /// `target = f(a)`
    Activate(Activation),
    /// `target = b * f'(a)`: `a` is what was activated, `b` the gradient of the result. Where `f` has no derivative, `f'` is
    /// that of the branch that [`activate`](crate::cell::activate) takes. A NaN in `a` counts as one in `f'(a)`, whatever `f`
    /// is.
    ActivateBackward(Activation),
}

impl ElementwiseKind {
    /// Whether there is a second operand.
    pub fn has_second(self) -> bool {
        matches!(
            self,
            Self::Add
                | Self::Subtract
                | Self::Multiply
                | Self::AccumulateProduct
                | Self::ActivateBackward(_)
        )
    }

    /// Whether it adds to what the target holds.
    pub fn accumulates(self) -> bool {
        matches!(
            self,
            Self::Accumulate | Self::AccumulateProduct | Self::AccumulateScaled { .. }
        )
    }
}

/// `target[i] = f(a[i], b[i])` for `i < len`. NaN comes out as NaN.
///
/// In place it works too: `target` may be `a` or `b` itself, the same region of the same buffer. Else it is in a buffer that
/// neither of them is in. `a` and `b` may be in one buffer, and overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Elementwise {
    /// What is computed.
    pub kind: ElementwiseKind,
    /// First operand.
    pub a: Region,
    /// Second operand, where the kind [has one](ElementwiseKind::has_second).
    pub b: Option<Region>,
    /// Result.
    pub target: Region,
    /// How many elements.
    pub len: usize,
}

impl Elementwise {
    /// What a device checks when it loads the operation, beside the buffers' ends.
    pub(crate) fn validate(&self) -> Result<()> {
        let (kind, wanted) = (self.kind, self.kind.has_second());
        if self.b.is_some() != wanted {
            let text = |there: bool| if there { "a region" } else { "none" };
            return Err(Error::shape(
                format!("second operand of {kind:?}"),
                text(wanted),
                text(!wanted),
            ));
        }
        let is_part = |operand: &Region| {
            operand.buffer == self.target.buffer && operand.offset != self.target.offset
        };
        if [Some(self.a), self.b].iter().flatten().any(is_part) {
            return Err(Error::State(
                "the target of an element-wise operation is in an operand's buffer, but not that operand's region itself",
            ));
        }
        match kind {
            ElementwiseKind::Scale { factor } | ElementwiseKind::AccumulateScaled { factor } => {
                match factor.is_finite() {
                    true => Ok(()),
                    false => Err(Error::option(
                        "factor",
                        format!("must be finite, not {factor}"),
                    )),
                }
            }
            ElementwiseKind::Activate(activation)
            | ElementwiseKind::ActivateBackward(activation) => activation.validate(),
            _ => Ok(()),
        }
    }

    /// An operand, unless it is the target itself.
    pub(crate) fn apart(&self, operand: impl Into<Option<Region>>) -> Option<Region> {
        operand.into().filter(|operand| *operand != self.target)
    }
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
