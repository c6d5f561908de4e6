//! Training: the optimizer's operations on the device, and what the host contributes to each step.

mod groups;
mod log;
mod optimizer;
mod optimizer_state;
mod progress;
mod schedule;
mod stopping;
mod truncated;

pub use groups::ParameterGroup;
pub use log::{LogRow, MetricsLog};
pub use optimizer::{
    Clipping, NonFinite, Optimizer, OptimizerBuffers, OptimizerOptions, OptimizerRegions,
    OptimizerRule,
};
pub use optimizer_state::{OptimizerState, StepCounts, StepReport};
pub use progress::Progress;
pub use schedule::{Goal, Schedule, ScheduleShape, ScheduleState, WarmUp};
pub use stopping::{EarlyStopping, Interrupt, Verdict};
pub use truncated::{CarriedState, Chunks};
