//! The command line.

use clap::Parser;

use crate::selection::Selection;

/// Times the standard workloads, or one of your own sizes, after checking the answers against the reference.
#[derive(Debug, Clone, Parser)]
#[command(name = "workloads")]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// One JSON object a line and metric instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Sweep over length, batch and hidden units instead, with plots
    #[arg(long)]
    pub(crate) sweep: bool,
    /// Time each ragged workload beside a dense batch with as many timesteps and rows instead
    #[arg(long)]
    pub(crate) dense_twin: bool,
    /// Measure each matrix product and recurrence by itself instead, in processor time
    #[arg(long, conflicts_with = "json")]
    pub(crate) operations: bool,
}
