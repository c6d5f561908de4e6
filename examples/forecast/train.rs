//! Training: shuffled windows, a falling step size, and the weights of the best epoch on the validation part.

use std::error::Error;
use std::sync::Arc;

use example_support::series::Series;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use wgpu_rnn::model::{Batch, Model, ModelParameters, Predictor};
use wgpu_rnn::train::{
    Clipping, Interrupt, OptimizerOptions, ProgressBar, ScheduleShape, Task, Trainer,
    TrainerOptions,
};
use wgpu_rnn::{Device, Result};

use crate::metrics::Scores;
use crate::model::{FORECAST, FUTURE, WINDOW};
use crate::options::Options;

/// Windows that are forecast at once.
pub(crate) const FORECAST_BATCH: usize = 256;

/// What training leaves.
#[derive(Debug)]
pub(crate) struct Trained {
    /// Weights of the best epoch.
    pub(crate) parameters: ModelParameters,
    /// The network's scores on the validation part with them.
    pub(crate) validation: Scores,
    /// That epoch, from 1.
    pub(crate) epoch: u64,
    /// Windows a second, forward, backward and update.
    pub(crate) windows_per_second: f64,
    /// Bytes of the training plan on the device.
    pub(crate) bytes: u64,
}

/// A series as a task; a sample is a window's first forecast row.
#[derive(Debug)]
struct Windows<'a> {
    series: &'a Series,
    batch: usize,
    seed: u64,
}

/// Trains on `device`.
pub(crate) fn train(
    model: &Model,
    series: &Series,
    options: &Options,
    device: &Arc<dyn Device>,
) -> std::result::Result<Trained, Box<dyn Error>> {
    let windows = series.starts(0).len();
    let task = Windows {
        series,
        batch: options.batch.min(windows),
        seed: options.seed,
    };
    let epochs = options.epochs as u64;
    let trainer_options = TrainerOptions {
        epochs,
        optimizer: OptimizerOptions {
            clipping: Some(Clipping::Norm(options.max_norm)),
            ..OptimizerOptions::adam(options.learning_rate)
        },
        schedule: ScheduleShape::Cosine {
            steps: (windows / task.batch) as u64 * epochs,
            minimum: 0.0,
        },
        patience: 0,
        seed: options.seed,
        ..TrainerOptions::default()
    };
    let mut trainer = Trainer::new(device.clone(), model, task, trainer_options)?;
    trainer.run(&Interrupt::default(), &mut ProgressBar::default())?;
    let epoch = trainer.stopping().best_observation;
    let metrics = &trainer.standing().epochs[epoch as usize - 1].metrics;
    let tokens = trainer.standing().tokens_per_second().unwrap_or(f64::NAN);
    Ok(Trained {
        parameters: trainer.best_parameters().ok_or("no epoch was run")?.clone(),
        validation: Scores {
            rmse: metrics[0],
            mae: metrics[1],
        },
        epoch,
        windows_per_second: tokens / series.window as f64,
        bytes: trainer.standing().plan_bytes,
    })
}

impl Task for Windows<'_> {
    /// Of equal size; the windows that are left over are others in each epoch.
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(epoch);
        let mut order: Vec<usize> = self.series.starts(0).collect();
        order.shuffle(&mut random);
        let batches = order.chunks_exact(self.batch);
        Ok(batches.map(<[usize]>::to_vec).collect())
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        batch(self.series, samples)
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["validation RMSE", "MAE"]
    }

    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>> {
        let starts: Vec<usize> = self.series.starts(1).collect();
        let forecasts = forecast(predictor, self.series, &starts)?;
        let scores = Scores::of(self.series, &starts, |at, start| {
            self.series.original(start, &forecasts[at])
        });
        Ok(vec![scores.rmse, scores.mae])
    }
}

/// The network's output for each of `starts`, `[horizon]` each.
pub(crate) fn forecast(
    predictor: &mut Predictor,
    series: &Series,
    starts: &[usize],
) -> Result<Vec<Vec<f32>>> {
    let mut forecasts = Vec::with_capacity(starts.len());
    for starts in starts.chunks(FORECAST_BATCH) {
        let outputs = predictor.run(&windows(series, starts)?)?;
        let rows = outputs.get(FORECAST)?.chunks_exact(series.horizon);
        forecasts.extend(rows.map(<[f32]>::to_vec));
    }
    Ok(forecasts)
}

/// What the network learns from.
pub(crate) fn batch(series: &Series, starts: &[usize]) -> Result<Batch> {
    let windows = series.windows(starts)?;
    let batch = Batch::new().packed(WINDOW, windows.x);
    Ok(batch.rows(FUTURE, windows.target))
}

/// What the network forecasts from.
pub(crate) fn windows(series: &Series, starts: &[usize]) -> Result<Batch> {
    Ok(Batch::new().packed(WINDOW, series.windows(starts)?.x))
}
