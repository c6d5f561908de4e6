//! Training on the device: the optimizer's operations and what the host contributes to each step.

mod adam;
mod log;

pub use adam::{AdamOptimizer, AdamOptions, AdamSteps};
pub use log::{LogRow, MetricsLog};
