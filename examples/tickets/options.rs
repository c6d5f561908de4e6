//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::train::TrainingOptions;

/// Learns to foresee which support tickets escalate within the next 4 hours, from streams of events that are made up, and
/// compares the network with the best that is possible and with gradient-boosted trees
#[derive(Debug, Clone, Parser)]
#[command(name = "tickets")]
pub(crate) struct Options {
    /// Less of everything, for a laptop: 30,000 tickets and 64 units a direction
    #[arg(long)]
    pub(crate) quick: bool,
    /// Tickets to make up; 240,000, with --quick 30,000
    #[arg(long)]
    pub(crate) tickets: Option<usize>,
    /// Where to train
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Units of a layer in each direction; 128, with --quick 64
    #[arg(long)]
    pub(crate) hidden: Option<usize>,
    /// Passes over the training part at most; 6, with --quick 10
    #[arg(long)]
    pub(crate) epochs: Option<u64>,
    /// Epochs without a better validation AUC after which training stops
    #[arg(long, default_value_t = 3)]
    pub(crate) patience: u64,
    /// Adam's largest step size; it rises at first and then falls along a half cosine
    #[arg(long, default_value_t = 0.004)]
    pub(crate) learning_rate: f64,
    /// Events of a batch at most
    #[arg(long, default_value_t = 4096)]
    pub(crate) token_budget: usize,
    /// Dropout between the layers and before the head
    #[arg(long, default_value_t = 0.1)]
    pub(crate) dropout: f32,
    /// Weight of tickets that escalated
    #[arg(long, default_value_t = 3.0)]
    pub(crate) positive_weight: f32,
    /// Seed of the tickets, the initial weights, the order of batches and dropout
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for checkpoints, the model card and plots
    #[arg(long, default_value = "out/tickets")]
    pub(crate) out: PathBuf,
    /// Go on from the last checkpoint in the folder
    #[arg(long)]
    pub(crate) resume: bool,
    /// Show a month of shifted events to the trained model: unknown events, population stability, advice to retrain
    #[arg(long)]
    pub(crate) drift: bool,
}

/// Where to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU device
    Auto,
    /// The GPU device, on a software adapter too
    Gpu,
    /// The CPU device
    Cpu,
}

impl Options {
    fn either<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Tickets to make up.
    pub(crate) fn tickets(&self) -> usize {
        self.tickets.unwrap_or(self.either(30_000, 240_000))
    }

    /// Units of a layer in each direction.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden.unwrap_or(self.either(64, 128))
    }

    /// What training is to do.
    pub(crate) fn training(&self) -> TrainingOptions {
        TrainingOptions {
            epochs: self.epochs.unwrap_or(self.either(10, 6)),
            patience: self.patience,
            learning_rate: self.learning_rate,
            token_budget: self.token_budget,
            seed: self.seed,
        }
    }
}
