//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use example_support::devices::DeviceChoice;
use example_support::series::Source;
use example_support::tickets::generator::LONGEST;

/// Trains Elman, LSTM and GRU networks of several shapes on tickets, on a series and on the adding problem, and shows quality,
/// training speed, latency and memory side by side
#[derive(Debug, Clone, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// Sizes for a laptop, some minutes in all; this is what is done without --full
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// More widths, more data, more steps, two layers: an hour or two on two cores
    #[arg(long)]
    full: bool,
    /// Only some of it, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Where to train; latency is always measured on one thread of the CPU
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Seed of the made-up data, the initial weights, the order of batches and dropout
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for tables and plots
    #[arg(long, default_value = "out/compare")]
    pub(crate) out: PathBuf,
    /// Units of a layer in each direction, separated by commas; 16,32,64, with --full 128 too
    #[arg(long, value_delimiter = ',')]
    widths: Vec<usize>,
    /// Stacked layers; 1, with --full 2
    #[arg(long)]
    layers: Option<usize>,
    /// Passes over the training part, for tickets and series; by default as many as the data need
    #[arg(long)]
    epochs: Option<u64>,
    /// Tickets to make up, of which those of the last 90 days judge
    #[arg(long, default_value_t = 240_000)]
    pub(crate) tickets: usize,
    /// Tickets that are trained on, of those before; 30,000, with --full all
    #[arg(long)]
    training_tickets: Option<usize>,
    /// CSV file of the series, such as ETTh1.csv; without it weekly CO2 at Mauna Loa, 1958-2001
    #[arg(long)]
    data: Option<PathBuf>,
    /// Column to forecast; the last one if not given
    #[arg(long)]
    target: Option<String>,
    /// Rows of the training, validation and test part, separated by commas; without it 70, 10 and 20 percent
    #[arg(long, value_delimiter = ',')]
    split: Vec<usize>,
    /// Lengths of the adding problem, separated by commas; 100,300,1000, with --full 100,200,400,700,1000
    #[arg(long, value_delimiter = ',')]
    lengths: Vec<usize>,
    /// Steps on the adding problem at most, for each learning rate; 1,200, with --full 10,000
    #[arg(long)]
    steps: Option<u64>,
}

/// What networks are compared on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Which tickets escalate
    Tickets,
    /// The next values of a series
    Series,
    /// The sum of two marked values of a long sequence
    Adding,
}

impl Options {
    /// The options, with everything refused that a later step could not use.
    pub(crate) fn checked() -> Result<Self, String> {
        let options = Self::parse();
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), String> {
        let mut counts = vec![
            ("--layers", self.layers() as u64),
            ("--epochs", self.epochs.unwrap_or(1)),
            ("--tickets", self.tickets as u64),
            ("--training-tickets", self.training_tickets() as u64),
        ];
        counts.extend(
            self.widths()
                .iter()
                .map(|&width| ("--widths", width as u64)),
        );
        if let Some((name, _)) = counts.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be greater than zero"));
        }
        if let Some(length) = self.lengths().iter().find(|&&length| length < 4) {
            return Err(format!("--lengths must be at least 4 steps, got {length}"));
        }
        if self.steps() < 10 {
            return Err(format!("--steps must be at least 10, got {}", self.steps()));
        }
        match self.split.len() {
            0 | 3 => Ok(()),
            got => Err(format!(
                "--split takes three row counts such as 8640,2880,2880, got {got}"
            )),
        }
    }

    fn either<T>(&self, quick: T, full: T) -> T {
        if self.full { full } else { quick }
    }

    /// What is asked for, each once.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let all = [Subject::Tickets, Subject::Series, Subject::Adding];
        let wanted = |subject: &Subject| self.only.is_empty() || self.only.contains(subject);
        all.into_iter().filter(wanted).collect()
    }

    /// Units of a layer, from few to many.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths = match self.widths.as_slice() {
            [] => self.either(vec![16, 32, 64], vec![16, 32, 64, 128]),
            widths => widths.to_vec(),
        };
        widths.sort_unstable();
        widths.dedup();
        widths
    }

    /// Stacked layers.
    pub(crate) fn layers(&self) -> usize {
        self.layers.unwrap_or(self.either(1, 2))
    }

    /// Passes over a training part: what is asked for, or as many as suit a problem.
    pub(crate) fn epochs(&self, quick: u64, full: u64) -> u64 {
        self.epochs.unwrap_or(self.either(quick, full))
    }

    /// Tickets that are trained on at most.
    pub(crate) fn training_tickets(&self) -> usize {
        let full = self.tickets;
        self.training_tickets.unwrap_or(self.either(30_000, full))
    }

    /// Lengths of the adding problem, from short to long.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        let mut lengths = match self.lengths.as_slice() {
            [] => self.either(vec![100, 300, 1000], vec![100, 200, 400, 700, 1000]),
            lengths => lengths.to_vec(),
        };
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    /// Steps on the adding problem.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.unwrap_or(self.either(1_200, 10_000))
    }

    /// Where the series comes from.
    pub(crate) fn source(&self) -> Source {
        Source {
            data: self.data.clone(),
            target: self.target.clone(),
            features: Vec::new(),
            horizon: 24,
            window: 64,
            season: None,
            split: self.split.clone(),
        }
    }
}

/// A ticket does not have to fit anything but a batch.
pub(crate) const TOKEN_BUDGET: usize = 4096;
const _: () = assert!(TOKEN_BUDGET >= LONGEST);
