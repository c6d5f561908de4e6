//! Training: the optimizer's operations on the device, and what the host contributes to each step.

mod checks;
mod groups;
mod log;
mod observer;
mod optimizer;
mod optimizer_state;
mod progress;
#[cfg(feature = "report")]
mod progress_bar;
mod saved;
mod schedule;
mod stopping;
mod task;
mod trainer;
mod truncated;

pub use groups::ParameterGroup;
pub use log::{LogRow, MetricsLog};
pub use observer::{EpochReport, Observer};
pub use optimizer::{
    Clipping, NonFinite, Optimizer, OptimizerBuffers, OptimizerOptions, OptimizerRegions,
    OptimizerRule,
};
pub use optimizer_state::{OptimizerState, StepCounts, StepReport};
pub use progress::Progress;
#[cfg(feature = "report")]
pub use progress_bar::ProgressBar;
pub use schedule::{Goal, Schedule, ScheduleShape, ScheduleState, WarmUp};
pub use stopping::{EarlyStopping, Interrupt, Verdict};
pub use task::{Batches, Task};
pub use trainer::{End, EpochRecord, NamedGroup, Standing, Trainer, TrainerOptions};
pub use truncated::{CarriedState, Chunks};
