//! Training: shuffled windows, a falling step size, and the weights of the best epoch on the validation part.

use std::error::Error;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use wgpu_rnn::checkpoint::Checkpoint;
use wgpu_rnn::ops::{Program, Region};
use wgpu_rnn::train::{
    Clipping, Interrupt, Optimizer, OptimizerOptions, ProgressBar, Schedule, ScheduleShape, Task,
    Trainer, TrainerOptions, TrainingPlaces, WarmUp,
};
use wgpu_rnn::{Device, DeviceBuffer, Plan, Result};

use crate::data::Series;
use crate::metrics::Scores;
use crate::model::{Forecaster, Inputs, Model};
use crate::options::Options;

/// Windows that are forecast at once.
pub(crate) const FORECAST_BATCH: usize = 256;

/// What training leaves.
#[derive(Debug)]
pub(crate) struct Trained {
    /// Weights of the best epoch.
    pub(crate) parameters: Vec<f32>,
    /// The network's scores on the validation part with them.
    pub(crate) validation: Scores,
    /// That epoch, from 1.
    pub(crate) epoch: u64,
    /// Windows a second, forward, backward and update.
    pub(crate) windows_per_second: f64,
    /// Bytes of the training plan on the device.
    pub(crate) bytes: u64,
}

/// A model and its series as a task; a sample is a window's first forecast row.
#[derive(Debug)]
struct Windows<'a> {
    model: &'a Model,
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
        model,
        series,
        batch: options.batch.min(windows),
        seed: options.seed,
    };
    let adam = OptimizerOptions {
        clipping: Some(Clipping::Norm(options.max_norm)),
        ..OptimizerOptions::adam(options.learning_rate)
    };
    let epochs = options.epochs as u64;
    let cosine = ScheduleShape::Cosine {
        steps: (windows / task.batch) as u64 * epochs,
        minimum: 0.0,
    };
    let no_rise = WarmUp {
        steps: 0,
        first: 1.0,
    };
    let optimizer = Optimizer::new(model.len(), adam)?;
    let schedule = Schedule::new(options.learning_rate, cosine, no_rise)?;
    let trainer_options = TrainerOptions {
        epochs,
        patience: 0,
        seed: options.seed,
        ..TrainerOptions::default()
    };
    let parts = (optimizer, schedule);
    let mut trainer = Trainer::new(device.clone(), task, parts, trainer_options)?;
    trainer.run(&Interrupt::default(), &mut ProgressBar::default())?;
    let epoch = trainer.stopping().best_observation;
    let metrics = &trainer.standing().epochs[epoch as usize - 1].metrics;
    let parameters = trainer.best_parameters().ok_or("no epoch was run")?;
    let tokens = trainer.standing().tokens_per_second().unwrap_or(f64::NAN);
    Ok(Trained {
        parameters: parameters.to_vec(),
        validation: Scores {
            rmse: metrics[0],
            mae: metrics[1],
        },
        epoch,
        windows_per_second: tokens / model.window as f64,
        bytes: trainer.standing().plan_bytes,
    })
}

impl Task for Windows<'_> {
    type Shape = usize;
    type Inputs = Inputs;

    fn parameter_len(&self) -> usize {
        self.model.len()
    }

    fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        self.model.initial(seed)
    }

    /// Of equal size; the windows that are left over are others in each epoch.
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(epoch);
        let mut order: Vec<usize> = self.series.starts(0).collect();
        order.shuffle(&mut random);
        let batches = order.chunks_exact(self.batch);
        Ok(batches.map(<[usize]>::to_vec).collect())
    }

    fn shape(&self, samples: &[usize]) -> Result<usize> {
        Ok(samples.len())
    }

    fn tokens(&self, batch: &usize) -> usize {
        batch * self.model.window
    }

    fn push(
        &self,
        program: &mut Program,
        batch: &usize,
        places: TrainingPlaces,
    ) -> Result<(Inputs, Region)> {
        self.model.push_training(program, *batch, places)
    }

    fn write(&self, plan: &mut dyn Plan, inputs: &Inputs, samples: &[usize]) -> Result<()> {
        let batch = self.series.batch(samples);
        plan.write(inputs.x, &batch.x)?;
        plan.write(inputs.target, &batch.target)
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["validation RMSE", "MAE"]
    }

    fn evaluate(&self, device: &dyn Device, parameters: &DeviceBuffer) -> Result<Vec<f64>> {
        let starts: Vec<usize> = self.series.starts(1).collect();
        let batch = FORECAST_BATCH.min(starts.len());
        let mut forecaster = self.model.forecaster(device, parameters, batch)?;
        let forecasts = forecast(&mut forecaster, self.series, &starts)?;
        let scores = Scores::of(self.series, &starts, |at, start| {
            self.series.original(start, &forecasts[at])
        });
        Ok(vec![scores.rmse, scores.mae])
    }

    fn checkpoint(&self, parameters: &[f32]) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new(self.model.config.clone());
        let shape = vec![parameters.len()];
        let tensors = &mut checkpoint.parameters;
        tensors.insert("parameters", shape, parameters.to_vec())?;
        Ok(checkpoint)
    }

    fn restore(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>> {
        checkpoint.expect_config(&self.model.config)?;
        let parameters = checkpoint.parameters.get("parameters");
        let missing = || wgpu_rnn::Error::Checkpoint("tensor `parameters` is missing".to_owned());
        Ok(parameters.ok_or_else(missing)?.data().to_vec())
    }
}

/// The network's output for each of `starts`, `[horizon]` each. The last batch is filled up with repetitions.
pub(crate) fn forecast(
    forecaster: &mut Forecaster,
    series: &Series,
    starts: &[usize],
) -> Result<Vec<Vec<f32>>> {
    forecaster.prepare()?;
    let mut outputs = Vec::with_capacity(starts.len());
    for chunk in starts.chunks(forecaster.batch) {
        let mut full = chunk.to_vec();
        full.resize(forecaster.batch, chunk[0]);
        let prediction = forecaster.forecast(&series.batch(&full).x)?;
        let rows = prediction.chunks_exact(series.horizon).take(chunk.len());
        outputs.extend(rows.map(<[f32]>::to_vec));
    }
    Ok(outputs)
}
