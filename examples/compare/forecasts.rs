//! The next values of a series: the data of `examples/forecast`.
//!
//! Layer norm does harm here: it normalises `W x` by itself, and where `x` is a single feature that leaves
//! nothing of it but the sign. It is for rows of many features, such as those of tickets.

use std::error::Error;

use example_support::series::Series;
use wgpu_rnn::Result;
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::ForecastErrors;
use wgpu_rnn::model::Batch;
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::train::Goal;

use crate::options::Options;
use crate::problem::{Effort, Ends, Part, Problem, RECORDS, TARGET};

/// Windows of a training step.
const WINDOWS: usize = 64;
/// Steps that training takes at least, so that a short series is gone through more often than a long one.
const STEPS: [u64; 2] = [600, 2_400];
const LEARNING_RATE: f64 = 0.005;

/// Windows of a series; a sample is the first row that is forecast.
#[derive(Debug)]
pub(crate) struct Forecasts {
    series: Series,
    window: usize,
    /// Training, validation, test.
    parts: [Vec<usize>; 3],
    batches: LengthBatches,
    epochs: u64,
}

impl Forecasts {
    /// Reads the series and cuts it in time.
    pub(crate) fn new(options: &Options) -> std::result::Result<Self, Box<dyn Error>> {
        let source = options.source();
        let series = Series::load(&source)?;
        let parts = [0, 1, 2].map(|part| series.starts(part).collect::<Vec<usize>>());
        let window = source.window;
        let batches = BatchOptions {
            token_budget: WINDOWS * window,
            seed: options.seed,
            ..BatchOptions::default()
        };
        let per_epoch = (parts[0].len() as u64).div_ceil(WINDOWS as u64);
        let [quick, full] = STEPS.map(|steps| steps.div_ceil(per_epoch));
        Ok(Self {
            batches: LengthBatches::new(&vec![window; parts[0].len()], batches)?,
            epochs: options.epochs(quick, full),
            series,
            window,
            parts,
        })
    }

    /// The metrics of forecasts in original units.
    fn errors(
        &self,
        samples: &[usize],
        forecast: impl Fn(usize, usize) -> Vec<f64>,
    ) -> Result<[f64; 2]> {
        let numbers = |values: Vec<f64>| values.into_iter().map(|value| value as f32);
        let truth = { samples.iter() }.flat_map(|&start| self.series.truth(start));
        let actual: Vec<f32> = truth.map(|&value| value as f32).collect();
        let predicted = { samples.iter().enumerate() };
        let predicted: Vec<f32> = predicted
            .flat_map(|(place, &start)| numbers(forecast(place, start)))
            .collect();
        let errors = ForecastErrors::new(&actual, &predicted)?;
        Ok([errors.mae(), errors.rmse()])
    }
}

impl Problem for Forecasts {
    fn name(&self) -> &'static str {
        "series"
    }

    fn about(&self) -> String {
        let [training, validation, test] = [0, 1, 2].map(|part| self.parts[part].len());
        format!(
            "{}; `{}` {} steps ahead from {}: {training} windows trained on, {validation} choose the epoch, {test} judge",
            self.series.about, self.series.name, self.series.horizon, self.window
        )
    }

    fn ends(&self) -> Ends {
        Ends {
            table: None,
            features: self.series.inputs(),
            outputs: self.series.horizon,
            loss: PointwiseLossKind::Squared,
            bias: None,
            memory: None,
        }
    }

    fn effort(&self) -> Effort {
        Effort {
            epochs: self.epochs,
            patience: 0,
            learning_rate: LEARNING_RATE,
            falls: true,
        }
    }

    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let batches = self.batches.epoch(epoch).into_iter();
        let starts = |batch: Vec<usize>| batch.into_iter().map(|at| self.parts[0][at]).collect();
        Ok(batches.map(starts).collect())
    }

    fn lengths(&self, samples: &[usize]) -> Vec<usize> {
        vec![self.window; samples.len()]
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        let windows = self.series.windows(samples)?;
        let batch = Batch::new().packed(RECORDS, windows.x);
        Ok(batch.rows(TARGET, windows.target))
    }

    fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Validation => &self.parts[1],
            Part::HoldOut => &self.parts[2],
        }
    }

    fn metrics(&self) -> [&'static str; 2] {
        ["MAE", "RMSE"]
    }

    fn goal(&self) -> Goal {
        Goal::Minimize
    }

    fn judge(&self, samples: &[usize], predictions: &[f32]) -> Result<[f64; 2]> {
        let horizon = self.series.horizon;
        self.errors(samples, |place, start| {
            let output = &predictions[place * horizon..][..horizon];
            self.series.original(start, output)
        })
    }

    fn baselines(&self) -> Result<Vec<(&'static str, [f64; 2])>> {
        let test = self.part(Part::HoldOut);
        let series = &self.series;
        Ok(vec![
            (
                "last value",
                self.errors(test, |_, start| series.last_value(start))?,
            ),
            (
                "seasonal naive",
                self.errors(test, |_, start| series.seasonal_naive(start))?,
            ),
        ])
    }
}
