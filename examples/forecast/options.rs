//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use example_support::devices::DeviceChoice;
use example_support::series::Source;

/// Learns a series on the device and forecasts its next values: many-to-one, direct, all horizons at once.
#[derive(Debug, Clone, Parser)]
#[command(name = "forecast")]
pub(crate) struct Options {
    /// CSV file with a header, one row a time step; without it weekly CO2 at Mauna Loa, 1958-2001
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Column to forecast; the last one if not given
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Further columns that the network sees, separated by commas, or `all`
    #[arg(long, value_delimiter = ',')]
    pub(crate) features: Vec<String>,
    /// Values to forecast
    #[arg(long, default_value_t = 26)]
    pub(crate) horizon: usize,
    /// Values that a forecast is made from
    #[arg(long, default_value_t = 64)]
    pub(crate) window: usize,
    /// Steps of a season, for the seasonal-naive forecast; without it 52 weeks, or found in the training part of `--data`
    #[arg(long)]
    pub(crate) season: Option<usize>,
    /// Rows of the training, validation and test part; without it 70, 10 and 20 percent
    #[arg(long, value_delimiter = ',')]
    pub(crate) split: Vec<usize>,
    /// Where to train
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Recurrent cell
    #[arg(long, value_enum, default_value_t = CellChoice::Lstm)]
    pub(crate) cell: CellChoice,
    /// Stacked layers
    #[arg(long, default_value_t = 2)]
    pub(crate) layers: usize,
    /// Units of a layer
    #[arg(long, default_value_t = 32)]
    pub(crate) hidden: usize,
    /// Passes over the training part
    #[arg(long, default_value_t = 20)]
    pub(crate) epochs: usize,
    /// Windows of a training step
    #[arg(long, default_value_t = 64)]
    pub(crate) batch: usize,
    /// Adam's step size at the start; it falls to zero along a half cosine
    #[arg(long, default_value_t = 0.005)]
    pub(crate) learning_rate: f64,
    /// Largest norm of all gradients together
    #[arg(long, default_value_t = 1.0)]
    pub(crate) max_norm: f64,
    /// Seed of the initial weights and of the order of windows
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for the plot
    #[arg(long, default_value = "out")]
    pub(crate) out: PathBuf,
}

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CellChoice {
    /// Long short-term memory
    Lstm,
    /// Gated recurrent unit
    Gru,
}

impl Options {
    /// The options, with everything refused that a later step could not use.
    pub(crate) fn checked() -> Result<Self, Box<dyn std::error::Error>> {
        let options = Self::parse();
        for (name, value) in [
            ("--horizon", options.horizon),
            ("--window", options.window),
            ("--layers", options.layers),
            ("--hidden", options.hidden),
            ("--epochs", options.epochs),
            ("--batch", options.batch),
        ] {
            if value == 0 {
                return Err(format!("{name} must be greater than zero").into());
            }
        }
        if options.season == Some(0) {
            return Err("--season must be greater than zero".into());
        }
        if !options.split.is_empty() && options.split.len() != 3 {
            return Err(format!(
                "--split takes three row counts such as 8640,2880,2880, got {}",
                options.split.len()
            )
            .into());
        }
        Ok(options)
    }

    /// Which series, and how it is cut.
    pub(crate) fn source(&self) -> Source {
        Source {
            data: self.data.clone(),
            target: self.target.clone(),
            features: self.features.clone(),
            horizon: self.horizon,
            window: self.window,
            season: self.season,
            split: self.split.clone(),
        }
    }
}
