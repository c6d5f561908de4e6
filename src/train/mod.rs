//! Training on the device: the optimizer's operations and what the host contributes to each step.

mod groups;
mod optimizer;
mod optimizer_state;

pub use groups::ParameterGroup;
pub use optimizer::{
    Clipping, NonFinite, Optimizer, OptimizerBuffers, OptimizerOptions, OptimizerRegions,
    OptimizerRule,
};
pub use optimizer_state::{OptimizerState, StepCounts, StepReport};
