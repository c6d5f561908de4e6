//! The operations that both devices offer, as data.
//!
//! A network is first written down as a [`Program`]: buffers, one table of row indices, and for each [`Section`] a list
//! of [`Operation`]s. Nothing here computes; a device is handed the program once, and then runs its sections as often
//! as asked, without allocating. The CPU device walks the list; the GPU device turns it into dispatches. Either can run
//! any operation, so each is compared with its twin by a program of one operation.
//!
//! To these a user can add operations: see [`Kernel`] and [`CustomOperation`].
//!
//! Conventions: all tensors are `f32` (some may be [stored in less](Precision)), row-major, sizes in elements. A [`Region`] is a place in a buffer. No operation
//! may read and write the same buffer, except where its documentation says so.

mod custom;
mod directions;
mod layers;
mod losses;
mod moves;
mod norms;
mod optimizers;
mod products;
mod program;
mod random;
mod recurrence_check;
mod recurrent;
mod region;

pub use custom::{CustomOperation, CustomShader, Kernel, MOST_OPERANDS, Operand, ShaderParameter};
pub use directions::{MergeDirections, SplitDirections};
pub use layers::{
    Columns, EmbeddingRows, EmbeddingRowsBackward, MOST_WHOLE, PoolKind, PoolRows, PoolRowsBackward,
};
pub use losses::{
    MeanSquaredError, PointwiseLoss, PointwiseLossKind, SoftmaxCrossEntropy, check_targets,
};
pub use moves::{CopyJob, Elementwise, ElementwiseKind, Fill, GatherRows, StridedCopies};
pub use norms::{LayerNormRows, LayerNormRowsBackward};
pub use optimizers::{
    COUNTER_CARRY, GradientNorm, NORM_SCALE, OptimizerControl, OptimizerStep, StepSettings,
    UpdateRule,
};
pub use products::{ColumnSums, Gemm, Matrix, RowMap};
pub use program::{BufferSpec, Precision, Program, Role, SEED_WORDS, Section};
pub use random::DropoutRows;
pub(crate) use recurrence_check::WeightParts;
pub use recurrent::{
    LayerStep, Recurrence, RecurrentBackward, RecurrentBackwardWave, RecurrentWave, StackStep,
    StateRegions,
};
pub use region::{BufferId, Region, TableOffset};

pub use crate::config::Mode;
pub use crate::random::{RandomPurpose, RandomSite};

/// Elements of a product of sizes; too large a product fits no buffer.
pub(crate) fn elements(sizes: &[usize]) -> usize {
    sizes
        .iter()
        .fold(1, |product: usize, &size| product.saturating_mul(size))
}

/// One operation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operation {
    /// See [`Fill`].
    Fill(Fill),
    /// See [`Elementwise`].
    Elementwise(Elementwise),
    /// See [`StridedCopies`].
    StridedCopies(StridedCopies),
    /// See [`GatherRows`].
    GatherRows(GatherRows),
    /// See [`Gemm`].
    Gemm(Gemm),
    /// See [`ColumnSums`].
    ColumnSums(ColumnSums),
    /// See [`LayerNormRows`].
    LayerNormRows(LayerNormRows),
    /// See [`LayerNormRowsBackward`].
    LayerNormRowsBackward(LayerNormRowsBackward),
    /// See [`MergeDirections`].
    MergeDirections(MergeDirections),
    /// See [`SplitDirections`].
    SplitDirections(SplitDirections),
    /// See [`DropoutRows`].
    DropoutRows(DropoutRows),
    /// See [`Recurrence`].
    RecurrentForward(Recurrence),
    /// See [`RecurrentBackward`].
    RecurrentBackward(RecurrentBackward),
    /// See [`RecurrentWave`].
    RecurrentWave(RecurrentWave),
    /// See [`RecurrentBackwardWave`].
    RecurrentBackwardWave(RecurrentBackwardWave),
    /// See [`StackStep`].
    StackStep(StackStep),
    /// See [`EmbeddingRows`].
    EmbeddingRows(EmbeddingRows),
    /// See [`EmbeddingRowsBackward`].
    EmbeddingRowsBackward(EmbeddingRowsBackward),
    /// See [`PoolRows`].
    PoolRows(PoolRows),
    /// See [`PoolRowsBackward`].
    PoolRowsBackward(PoolRowsBackward),
    /// See [`PointwiseLoss`].
    PointwiseLoss(PointwiseLoss),
    /// See [`SoftmaxCrossEntropy`].
    SoftmaxCrossEntropy(SoftmaxCrossEntropy),
    /// See [`GradientNorm`].
    GradientNorm(GradientNorm),
    /// See [`OptimizerControl`].
    OptimizerControl(OptimizerControl),
    /// See [`OptimizerStep`].
    OptimizerStep(OptimizerStep),
    /// See [`CustomOperation`].
    Custom(CustomOperation),
}

impl Operation {
    /// The stem of its kernel, or the name of the user's own.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fill(_) => "fill",
            Self::Elementwise(_) => "elementwise",
            Self::StridedCopies(_) => "strided_copies",
            Self::GatherRows(_) => "gather_rows",
            Self::Gemm(_) => "gemm",
            Self::ColumnSums(_) => "column_sums",
            Self::LayerNormRows(_) => "layer_norm_rows",
            Self::LayerNormRowsBackward(_) => "layer_norm_rows_backward",
            Self::MergeDirections(_) => "merge_directions",
            Self::SplitDirections(_) => "split_directions",
            Self::DropoutRows(_) => "dropout_rows",
            Self::RecurrentForward(_) | Self::RecurrentWave(_) => "recurrent_forward",
            Self::RecurrentBackward(_) | Self::RecurrentBackwardWave(_) => "recurrent_backward",
            Self::StackStep(_) => "stack_step",
            Self::EmbeddingRows(_) => "embedding_rows",
            Self::EmbeddingRowsBackward(_) => "embedding_rows_backward",
            Self::PoolRows(_) => "pool_rows",
            Self::PoolRowsBackward(_) => "pool_rows_backward",
            Self::PointwiseLoss(_) => "pointwise_loss",
            Self::SoftmaxCrossEntropy(_) => "softmax_cross_entropy",
            Self::GradientNorm(_) => "gradient_norm",
            Self::OptimizerControl(_) => "optimizer_control",
            Self::OptimizerStep(_) => "optimizer_step",
            Self::Custom(op) => op.kernel.name(),
        }
    }

    /// Whether it would touch no element.
    fn is_empty(&self) -> bool {
        match self {
            Self::Fill(op) => op.len == 0,
            Self::Elementwise(op) => op.len == 0,
            Self::StridedCopies(op) => op.jobs.is_empty(),
            Self::GatherRows(op) => op.rows * op.width == 0,
            // A product over no terms still writes zeros or the bias.
            Self::Gemm(op) => op.m * op.n == 0 || (op.k == 0 && op.accumulate),
            Self::ColumnSums(op) => op.columns == 0 || (op.rows == 0 && op.accumulate),
            Self::LayerNormRows(op) => op.rows == 0,
            Self::LayerNormRowsBackward(op) => op.rows == 0,
            Self::MergeDirections(op) => op.tokens == 0,
            Self::SplitDirections(op) => op.tokens == 0,
            Self::DropoutRows(op) => op.rows * op.width == 0,
            Self::RecurrentForward(op) => op.steps.is_empty(),
            Self::RecurrentBackward(op) => op.forward.steps.is_empty(),
            Self::RecurrentWave(op) => op.cells.iter().all(|op| op.steps.is_empty()),
            Self::RecurrentBackwardWave(op) => {
                op.cells.iter().all(|op| op.forward.steps.is_empty())
            }
            Self::StackStep(op) => op.layers.is_empty(),
            Self::EmbeddingRows(op) => op.rows * op.written() == 0,
            // A sum over no rows still writes zeros.
            Self::EmbeddingRowsBackward(op) => {
                op.entries * op.gradient.width == 0 || (op.rows == 0 && op.accumulate)
            }
            Self::PoolRows(op) => op.packing.batch() * op.width == 0,
            Self::PoolRowsBackward(op) => op.packing.tokens() * op.width == 0,
            Self::PointwiseLoss(op) => op.rows * op.width == 0,
            Self::SoftmaxCrossEntropy(op) => op.rows * op.classes == 0,
            Self::GradientNorm(op) => op.len == 0,
            Self::OptimizerControl(_) => false,
            Self::OptimizerStep(op) => op.len == 0,
            // One that writes nothing at all is refused when it is loaded.
            Self::Custom(op) => {
                op.written().next().is_some() && op.written().all(|operand| operand.len == 0)
            }
        }
    }
}

impl From<CustomOperation> for Operation {
    fn from(operation: CustomOperation) -> Self {
        Self::Custom(operation)
    }
}

macro_rules! operation_from {
    ($($name:ident),*) => {$(
        impl From<$name> for Operation {
            fn from(operation: $name) -> Self {
                Self::$name(operation)
            }
        }
    )*};
}
operation_from!(
    Fill,
    Elementwise,
    StridedCopies,
    GatherRows,
    Gemm,
    ColumnSums,
    LayerNormRows,
    LayerNormRowsBackward,
    MergeDirections,
    SplitDirections,
    DropoutRows,
    RecurrentBackward,
    RecurrentWave,
    RecurrentBackwardWave,
    StackStep,
    EmbeddingRows,
    EmbeddingRowsBackward,
    PoolRows,
    PoolRowsBackward,
    PointwiseLoss,
    SoftmaxCrossEntropy,
    GradientNorm,
    OptimizerControl,
    OptimizerStep
);

impl From<Recurrence> for Operation {
    fn from(operation: Recurrence) -> Self {
        Self::RecurrentForward(operation)
    }
}

impl From<MeanSquaredError> for Operation {
    fn from(operation: MeanSquaredError) -> Self {
        Self::PointwiseLoss(PointwiseLoss {
            kind: PointwiseLossKind::Squared,
            prediction: operation.prediction,
            target: operation.target,
            weights: None,
            gradient: operation.gradient,
            loss: operation.loss,
            rows: operation.len,
            width: 1,
        })
    }
}

impl LayerStep {
    /// What it is made of, in this order.
    pub fn parts(&self) -> Vec<Operation> {
        let mut parts = vec![Operation::from(self.first_h)];
        parts.extend(self.first_c.map(Operation::from));
        parts.extend([
            self.projection.into(),
            self.recurrence.clone().into(),
            self.output.into(),
            self.last_h.into(),
        ]);
        parts.extend(self.last_c.map(Operation::from));
        parts
    }
}

impl StackStep {
    /// What it is made of, in this order.
    pub fn parts(&self) -> Vec<Operation> {
        self.layers.iter().flat_map(LayerStep::parts).collect()
    }
}
