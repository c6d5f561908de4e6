//! One file for each operation, with the stem of its shader: how it becomes dispatches.

mod fill;
mod gemm;
mod recurrent;
mod recurrent_backward;
mod recurrent_forward;

use super::recorder::Recorder;
use super::shader::Shader;
use crate::error::{Error, Result};
use crate::ops::Operation;

/// Shader modules that several kernels share.
pub(crate) mod lib {
    /// `linear_group`, `linear_index`: the number of a workgroup or of an invocation of a dispatch over x and y.
    pub(crate) const INDEX: &str = include_str!("../../../shaders/lib/index.wgsl");
    /// `relative_step`: see [`Dispatch::step`](crate::gpu::recorder::Dispatch::step).
    pub(crate) const STEP: &str = include_str!("../../../shaders/lib/step.wgsl");
    /// The twin of [`crate::random`].
    pub(crate) const RANDOM: &str = include_str!("../../../shaders/lib/random.wgsl");
}

/// Records an operation.
pub(crate) fn record(operation: &Operation, recorder: &mut Recorder<'_>) -> Result<()> {
    match operation {
        Operation::Fill(op) => fill::record(op, recorder),
        Operation::Gemm(op) => gemm::record(op, recorder),
        Operation::RecurrentForward(op) => recurrent_forward::record(op, recorder),
        Operation::RecurrentBackward(op) => recurrent_backward::record(op, recorder),
        _ => Err(Error::State("this operation has no GPU kernel yet")),
    }
}

/// Every shader, for [`super::shader::all`].
pub(crate) fn shaders() -> Vec<Shader> {
    let mut shaders = vec![fill::shader()];
    shaders.extend(gemm::shaders());
    shaders.extend(recurrent_forward::shaders());
    shaders.extend(recurrent_backward::shaders());
    shaders
}
