//! One file for each operation, with the stem of its shader: how it becomes dispatches.

mod column_sums;
mod custom;
mod dropout_rows;
mod elementwise;
mod embedding_rows;
mod embedding_rows_backward;
mod fill;
mod gather_rows;
mod gemm;
mod gradient_norm;
mod layer_norm_rows;
mod layer_norm_rows_backward;
pub(crate) mod lib;
mod loss_share;
mod merge_directions;
mod optimizer_control;
mod optimizer_step;
mod pointwise_loss;
mod pool_rows;
mod pool_rows_backward;
mod recurrent;
mod recurrent_backward;
mod recurrent_forward;
mod row_splits;
mod softmax_cross_entropy;
mod split_directions;
mod stack_step;
mod strided_copies;
mod sum_partials;

pub(crate) use lib::LINEAR;
pub(crate) use recurrent::{key as tuning_key, table as table_choice};

use super::recorder::Recorder;
use super::shader::Shader;
use crate::error::Result;
use crate::gpu::element::Pack;
use crate::ops::{Operation, Precision, Program};

/// Records an operation.
pub(crate) fn record(operation: &Operation, recorder: &mut Recorder<'_>) -> Result<()> {
    match operation {
        Operation::Fill(op) => fill::record(op, recorder),
        Operation::Elementwise(op) => elementwise::record(op, recorder),
        Operation::StridedCopies(op) => strided_copies::record(op, recorder),
        Operation::GatherRows(op) => gather_rows::record(op, recorder),
        Operation::Gemm(op) => gemm::record(op, recorder),
        Operation::ColumnSums(op) => column_sums::record(op, recorder),
        Operation::LayerNormRows(op) => layer_norm_rows::record(op, recorder),
        Operation::LayerNormRowsBackward(op) => layer_norm_rows_backward::record(op, recorder),
        Operation::MergeDirections(op) => merge_directions::record(op, recorder),
        Operation::SplitDirections(op) => split_directions::record(op, recorder),
        Operation::DropoutRows(op) => dropout_rows::record(op, recorder),
        Operation::RecurrentForward(op) => recurrent_forward::record(op, recorder),
        Operation::RecurrentBackward(op) => recurrent_backward::record(op, recorder),
        Operation::StackStep(op) => stack_step::record(op, recorder, record),
        Operation::RecurrentWave(op) => recurrent_forward::record_wave(op, recorder),
        Operation::RecurrentBackwardWave(op) => recurrent_backward::record_wave(op, recorder),
        Operation::EmbeddingRows(op) => embedding_rows::record(op, recorder),
        Operation::EmbeddingRowsBackward(op) => embedding_rows_backward::record(op, recorder),
        Operation::PoolRows(op) => pool_rows::record(op, recorder),
        Operation::PoolRowsBackward(op) => pool_rows_backward::record(op, recorder),
        Operation::PointwiseLoss(op) => pointwise_loss::record(op, recorder),
        Operation::SoftmaxCrossEntropy(op) => softmax_cross_entropy::record(op, recorder),
        Operation::GradientNorm(op) => gradient_norm::record(op, recorder),
        Operation::OptimizerControl(op) => optimizer_control::record(op, recorder),
        Operation::OptimizerStep(op) => optimizer_step::record(op, recorder),
        Operation::Custom(op) => custom::record(op, recorder),
    }
}

/// Every shader of the crate, one entry for each set of modules; of the recurrent kernels those for the recurrence of each of
/// these programs, in every form.
pub fn shaders(programs: &[Program]) -> Vec<Shader> {
    let mut shaders = vec![
        embedding_rows::shader(),
        embedding_rows_backward::shader(),
        fill::shader(),
        gather_rows::shader(),
        gradient_norm::shader(),
        loss_share::shader(),
        pointwise_loss::shader(),
        pool_rows::shader(),
        pool_rows_backward::shader(),
        softmax_cross_entropy::shader(),
        optimizer_control::shader(),
        optimizer_step::shader(),
        sum_partials::shader(),
    ];
    for stored in [Precision::F32, Precision::F16] {
        shaders.extend([
            layer_norm_rows::shader([stored; 3]),
            layer_norm_rows_backward::shader([stored; 2]),
            strided_copies::shader([Precision::F32, stored]),
        ]);
        for pack in Pack::ALL {
            shaders.push(column_sums::shader(pack, [stored; 2]));
            shaders.push(merge_directions::shader(pack, [stored; 4]));
        }
    }
    shaders.extend(Pack::ALL.map(elementwise::shader));
    shaders.extend(Pack::ALL.map(split_directions::shader));
    shaders.extend(dropout_rows::shaders());
    shaders.extend(gemm::shaders());
    shaders.extend(stack_step::shaders(programs));
    shaders.extend(recurrent_forward::shaders(programs));
    shaders.extend(recurrent_backward::shaders(programs));
    shaders
}
