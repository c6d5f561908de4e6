//! The training loop: shuffled windows, a falling step size, and the weights of the best epoch on the validation part.

use std::error::Error;
use std::f64::consts::PI;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use wgpu_rnn::Device;
use wgpu_rnn::train::{Clipping, Optimizer, OptimizerOptions};

use crate::data::Series;
use crate::metrics::Scores;
use crate::model::{Forecaster, Model};
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
    pub(crate) epoch: usize,
    /// Windows a second, forward, backward and update.
    pub(crate) windows_per_second: f64,
    /// Bytes of the training plan on the device.
    pub(crate) bytes: u64,
}

/// Trains on `device`.
pub(crate) fn train(
    model: &Model,
    series: &Series,
    options: &Options,
    device: &dyn Device,
) -> Result<Trained, Box<dyn Error>> {
    let mut optimizer = Optimizer::new(
        model.len(),
        OptimizerOptions {
            clipping: Some(Clipping::Norm(options.max_norm)),
            ..OptimizerOptions::adam(options.learning_rate)
        },
    )?;
    let weights = model.weights(device, &model.initial(options.seed)?)?;
    let mut order: Vec<usize> = series.starts(0).collect();
    let mut trainer = model.trainer(
        device,
        (&weights, &optimizer),
        options.batch.min(order.len()),
    )?;
    let validation: Vec<usize> = series.starts(1).collect();
    let batch = FORECAST_BATCH.min(validation.len());
    let mut forecaster = model.forecaster(device, &weights, batch)?;

    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(options.seed);
    let per_epoch = order.len() / trainer.batch;
    let steps = (per_epoch * options.epochs) as f64;
    let progress = Progress::new(per_epoch * options.epochs);
    let mut best: Option<Trained> = None;
    let (mut seconds, mut step) = (0.0, 0);
    for epoch in 1..=options.epochs {
        order.shuffle(&mut random);
        let start = Instant::now();
        for windows in order.chunks_exact(trainer.batch) {
            let share = f64::from(step) / steps;
            optimizer
                .set_learning_rate(options.learning_rate * 0.5 * (1.0 + (PI * share).cos()))?;
            let batch = series.batch(windows);
            trainer.step(&batch.x, &batch.target, &optimizer.settings())?;
            step += 1;
            progress.step();
        }
        let loss = trainer.take_loss_sum()? / per_epoch as f32;
        seconds += start.elapsed().as_secs_f64();
        if !loss.is_finite() {
            return Err(format!("training diverged in epoch {epoch}: loss {loss}").into());
        }
        let forecasts = forecast(&mut forecaster, series, &validation)?;
        let scores = Scores::of(series, &validation, |at, start| {
            series.original(start, &forecasts[at])
        });
        progress.epoch(epoch, options.epochs, loss, &scores);
        if best
            .as_ref()
            .is_none_or(|best| scores.rmse < best.validation.rmse)
        {
            best = Some(Trained {
                parameters: device.read(&weights, 0..model.len())?,
                validation: scores,
                epoch,
                windows_per_second: 0.0,
                bytes: trainer.bytes(),
            });
        }
    }
    progress.finish();
    let best = best.ok_or("no epoch was run")?;
    let windows = (per_epoch * trainer.batch * options.epochs) as f64;
    Ok(Trained {
        windows_per_second: windows / seconds,
        ..best
    })
}

/// The network's output for each of `starts`, `[horizon]` each. The last batch is filled up with repetitions.
pub(crate) fn forecast(
    forecaster: &mut Forecaster,
    series: &Series,
    starts: &[usize],
) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
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

/// A bar on a terminal, a line an epoch elsewhere.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        let template = "{elapsed_precise} [{bar:40}] {pos}/{len} steps, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    fn step(&self) {
        self.bar.inc(1);
    }

    fn epoch(&self, epoch: usize, epochs: usize, loss: f32, scores: &Scores) {
        let line = format!("epoch {epoch:3} of {epochs}: loss {loss:.4}, validation {scores}");
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
