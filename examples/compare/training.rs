//! One run of the library's trainer.

use std::path::PathBuf;

use wgpu_rnn::Result;
use wgpu_rnn::train::{
    Clipping, End, Optimizer, OptimizerOptions, Schedule, ScheduleShape, Standing, Trainer,
    TrainerOptions, WarmUp,
};

use crate::model::Model;
use crate::problem::Problem;
use crate::quiet::Quiet;
use crate::study::Study;
use crate::task::Learning;

/// Largest norm of all gradients together.
const MAX_NORM: f64 = 1.0;
/// Share of the first epoch in which the rate rises.
const WARM_UP: f64 = 0.5;

/// What training left.
#[derive(Debug)]
pub(crate) struct Trained {
    /// Of the best epoch on the validation part.
    pub(crate) parameters: Vec<f32>,
    pub(crate) standing: Standing,
}

impl Study<'_> {
    /// Trains until the effort is spent or the first metric is at the target; `None` if interrupted. In a folder it leaves
    /// the best and the last epoch, the log and the learning curve.
    pub(crate) fn train<P: Problem>(
        &self,
        problem: &P,
        model: &Model,
        (folder, target): (Option<PathBuf>, Option<f64>),
    ) -> Result<Option<Trained>> {
        let effort = problem.effort();
        let per_epoch = problem.batches(0)?.len() as u64;
        let warm_up = WarmUp {
            steps: (WARM_UP * per_epoch as f64).ceil() as u64,
            first: 0.05,
        };
        let shape = match effort.falls {
            true => ScheduleShape::Cosine {
                steps: (per_epoch * effort.epochs)
                    .saturating_sub(warm_up.steps)
                    .max(1),
                minimum: 0.01 * effort.learning_rate,
            },
            false => ScheduleShape::Constant,
        };
        let adam = OptimizerOptions {
            clipping: Some(Clipping::Norm(MAX_NORM)),
            ..OptimizerOptions::adam(effort.learning_rate)
        };
        let how = (
            Optimizer::new(model.len(), adam)?,
            Schedule::new(effort.learning_rate, shape, warm_up)?,
        );
        let options = TrainerOptions {
            epochs: effort.epochs,
            patience: effort.patience,
            seed: self.options.seed,
            goal: problem.goal(),
            target,
            folder,
            ..TrainerOptions::default()
        };
        let task = Learning { problem, model };
        let mut trainer = Trainer::new(self.device.clone(), task, how, options)?;
        let mut bar = Quiet::default();
        if trainer.run(self.interrupt, &mut bar)? == End::Interrupted {
            return Ok(None);
        }
        Ok(Some(Trained {
            parameters: trainer.best_parameters().unwrap_or_default().to_vec(),
            standing: trainer.standing().clone(),
        }))
    }
}
