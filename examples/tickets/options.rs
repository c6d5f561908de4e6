//! The command line.

use std::path::PathBuf;

use clap::Parser;
use example_support::devices::DeviceChoice;

use crate::generator::LONGEST;

/// Learns to foresee which support tickets escalate within the next 4 hours, from streams of events that are made up, and
/// compares the network with the best that is possible and with gradient-boosted trees
#[derive(Debug, Clone, Parser)]
#[command(name = "tickets")]
pub(crate) struct Options {
    /// Sizes for a laptop: 30,000 tickets, 32 units a direction, 4 epochs; this is what is done without --full
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// More of everything: 240,000 tickets, 128 units a direction, 6 epochs; about a quarter of an hour on two cores
    #[arg(long)]
    full: bool,
    /// Tickets to make up; 30,000, with --full 240,000
    #[arg(long)]
    pub(crate) tickets: Option<usize>,
    /// Where to train
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Units of a layer in each direction; 32, with --full 128
    #[arg(long)]
    pub(crate) hidden: Option<usize>,
    /// Passes over the training part at most; 4, with --full 6
    #[arg(long)]
    pub(crate) epochs: Option<u64>,
    /// Epochs without a better validation AUC after which training stops
    #[arg(long, default_value_t = 3)]
    pub(crate) patience: u64,
    /// Adam's largest step size; it rises at first and then falls along a half cosine
    #[arg(long, default_value_t = 0.005)]
    pub(crate) learning_rate: f64,
    /// Events of a batch at most
    #[arg(long, default_value_t = 4096)]
    pub(crate) token_budget: usize,
    /// Events after which gradients are cut; 0: nowhere
    #[arg(long, default_value_t = 64)]
    pub(crate) truncation: usize,
    /// Dropout between the layers and before the head
    #[arg(long, default_value_t = 0.2)]
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

/// What training is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrainingOptions {
    pub(crate) epochs: u64,
    /// Epochs without a better AUC after which it stops.
    pub(crate) patience: u64,
    pub(crate) learning_rate: f64,
    /// Most events of a batch.
    pub(crate) token_budget: usize,
    pub(crate) seed: u64,
}

impl Options {
    /// The options, with everything refused that a later step could not use.
    pub(crate) fn checked() -> Result<Self, String> {
        let options = Self::parse();
        for (name, value) in [
            ("--tickets", options.tickets()),
            ("--hidden", options.hidden()),
            ("--epochs", options.training().epochs as usize),
            ("--token-budget", options.token_budget),
        ] {
            if value == 0 {
                return Err(format!("{name} must be greater than zero"));
            }
        }
        if !(options.positive_weight > 0.0 && options.positive_weight.is_finite()) {
            return Err("--positive-weight must be greater than zero".to_owned());
        }
        if options.token_budget < LONGEST {
            return Err(format!(
                "--token-budget must be at least {LONGEST}, the events of the longest ticket"
            ));
        }
        Ok(options)
    }

    fn either<T>(&self, quick: T, full: T) -> T {
        if self.full { full } else { quick }
    }

    /// Tickets to make up.
    pub(crate) fn tickets(&self) -> usize {
        self.tickets.unwrap_or(self.either(30_000, 240_000))
    }

    /// Units of a layer in each direction.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden.unwrap_or(self.either(32, 128))
    }

    /// What training is to do.
    pub(crate) fn training(&self) -> TrainingOptions {
        TrainingOptions {
            epochs: self.epochs.unwrap_or(self.either(4, 6)),
            patience: self.patience,
            learning_rate: self.learning_rate,
            token_budget: self.token_budget,
            seed: self.seed,
        }
    }
}
