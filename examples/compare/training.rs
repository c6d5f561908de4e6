//! One run of the library's trainer.

use std::path::PathBuf;

use wgpu_rnn::model::{Model, ModelParameters};
use wgpu_rnn::train::{
    Clipping, End, OptimizerOptions, ScheduleShape, Standing, Trainer, TrainerOptions, WarmUp,
};
use wgpu_rnn::{Error, Result};

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
    pub(crate) parameters: ModelParameters,
    pub(crate) standing: Standing,
}

impl Study<'_> {
    /// Trains until the effort is spent or the first metric is at the target; `None` if interrupted. In a folder it leaves
    /// the best and the last epoch, the log and the learning curve.
    pub(crate) fn train<P: Problem>(
        &self,
        problem: &P,
        model: &Model,
        folder: Option<PathBuf>,
        target: Option<f64>,
    ) -> Result<Option<Trained>> {
        let effort = problem.effort();
        let per_epoch = problem.batches(0)?.len() as u64;
        let warm_up = WarmUp {
            steps: (WARM_UP * per_epoch as f64).ceil() as u64,
            first: 0.05,
        };
        let schedule = match effort.falls {
            true => ScheduleShape::Cosine {
                steps: (per_epoch * effort.epochs)
                    .saturating_sub(warm_up.steps)
                    .max(1),
                minimum: 0.01 * effort.learning_rate,
            },
            false => ScheduleShape::Constant,
        };
        let options = TrainerOptions {
            epochs: effort.epochs,
            optimizer: OptimizerOptions {
                clipping: Some(Clipping::Norm(MAX_NORM)),
                ..OptimizerOptions::adam(effort.learning_rate)
            },
            schedule,
            warm_up,
            patience: effort.patience,
            seed: self.options.seed,
            goal: problem.goal(),
            target,
            folder,
            ..TrainerOptions::default()
        };
        let mut trainer = Trainer::new(self.device.clone(), model, Learning(problem), options)?;
        trainer.set_parameters(&initial(model, problem, self.options.seed)?)?;
        let mut bar = Quiet::default();
        if trainer.run(self.interrupt, &mut bar)? == End::Interrupted {
            return Ok(None);
        }
        let best = trainer.best_parameters().cloned();
        Ok(Some(Trained {
            parameters: best.ok_or(Error::State("no epoch was trained"))?,
            standing: trainer.standing().clone(),
        }))
    }
}

/// The model's initial parameters, but zeros for the table's entry of what is unknown: nothing trains it.
pub(crate) fn initial<P: Problem>(
    model: &Model,
    problem: &P,
    seed: u64,
) -> Result<ModelParameters> {
    let mut parameters = model.initial(seed)?;
    if let Some([_, width]) = problem.ends().table {
        parameters.get_mut("embedding.weight")?[..width].fill(0.0);
    }
    Ok(parameters)
}
