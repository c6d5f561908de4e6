//! A trainer's state as files, and back.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log::MetricsLog;
use super::optimizer::OptimizerOptions;
use super::optimizer_state::OptimizerState;
use super::schedule::{Goal, Schedule, ScheduleShape, ScheduleState, WarmUp};
use super::stopping::EarlyStopping;
use super::task::Task;
use super::trainer::{Standing, Trainer};
use crate::checkpoint::{Checkpoint, check_same};
use crate::error::{Error, Result};
use crate::model::{CarriedStates, ModelParameters};

/// Names of the checkpoint's sections.
const TRAINER: &str = "trainer";
const STANDING: &str = "standing";
const SCHEDULE: &str = "schedule";
const STOPPING: &str = "stopping";
/// The optimizer's one tensor.
const STATE: &str = "state";
/// States that go from batch to batch, by number.
const CARRIED: &str = "carried.";

/// What has to be the same when training goes on. The number of epochs and patience may change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fixed {
    seed: u64,
    accumulation: u64,
    goal: Goal,
    metrics: Vec<String>,
    optimizer: OptimizerOptions,
    /// Decay and rate of each group.
    groups: Vec<f64>,
    learning_rate: f64,
    schedule: ScheduleShape,
    warm_up: WarmUp,
}

impl<T: Task> Trainer<T> {
    /// The checkpoint of the best epoch.
    pub fn best_path(&self) -> Option<PathBuf> {
        self.file("best.safetensors")
    }

    /// The checkpoint after the last epoch, or at an interrupt.
    pub fn last_path(&self) -> Option<PathBuf> {
        self.file("last.safetensors")
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.options.folder.as_ref().map(|folder| folder.join(name))
    }

    /// Takes up the state of the last checkpoint in the folder. On the same device, training goes on as if it had not been
    /// interrupted, bit for bit; the log's rows that came after the checkpoint are dropped and written again.
    ///
    /// # Errors
    /// [`Error::State`] if there is no folder; [`Error::File`] if there is no checkpoint; [`Error::Checkpoint`] if it is damaged,
    /// of another model, other data or other options, naming what differs; the task's and the device's errors. Nothing is
    /// changed then.
    pub fn resume(&mut self) -> Result<()> {
        let Some(path) = self.last_path() else {
            return Err(Error::State("a trainer without a folder cannot resume"));
        };
        let checkpoint = Checkpoint::load(&path)?;
        let best = self.best_path().filter(|path| path.exists());
        let best = best.map(|path| Checkpoint::load(&path)).transpose()?;
        self.take(&checkpoint, best.as_ref())
    }

    fn take(&mut self, checkpoint: &Checkpoint, best: Option<&Checkpoint>) -> Result<()> {
        let parameters = self.restore(checkpoint)?;
        checkpoint.expect_optimizer(&self.optimizer_kind())?;
        check_same("training", &self.fixed(), &checkpoint.section(TRAINER)?)?;
        let missing = || Error::Checkpoint("the optimizer's state is missing".to_owned());
        let state = checkpoint
            .optimizer
            .tensors
            .get(STATE)
            .ok_or_else(missing)?;
        let state = OptimizerState {
            update: self.optimizer.update(),
            parameters: self.optimizer.len(),
            values: state.data().to_vec(),
        };
        let standing: Standing = checkpoint.section(STANDING)?;
        let schedule: Schedule = checkpoint.section(SCHEDULE)?;
        let stopping: EarlyStopping = checkpoint.section(STOPPING)?;
        let best = match best {
            Some(best) if stopping.best.is_some() => Some(self.restore(best)?),
            _ => None,
        };
        let tensors = &checkpoint.optimizer.tensors;
        let carried = (0..).map_while(|number: usize| tensors.get(&format!("{CARRIED}{number}")));
        let carried: Vec<Vec<f32>> = carried.map(|tensor| tensor.data().to_vec()).collect();
        let device = self.device.as_ref();
        let weights = &self.weights;
        self.optimizer.restore(device, &weights.optimizer, &state)?;
        device.write(&weights.parameters, 0, parameters.data())?;
        let loss_sum = standing.loss_sum.unwrap_or(f32::NAN);
        device.write(&weights.loss_sum, 0, &[loss_sum])?;
        self.carried = CarriedStates::saved(carried);
        // What is loaded is bound to the states that were.
        self.loaded = None;
        self.position = checkpoint.position;
        self.standing = standing;
        self.schedule = schedule;
        self.stopping = EarlyStopping {
            patience: self.options.patience,
            least_change: self.options.least_change,
            ..stopping
        };
        self.best = best;
        Ok(())
    }

    /// The parameters of a checkpoint of this model and these data.
    fn restore(&self, checkpoint: &Checkpoint) -> Result<ModelParameters> {
        checkpoint.expect_model(&self.model.description())?;
        let parameters = checkpoint.parameters_of(&self.model)?;
        self.task.check(checkpoint)?;
        Ok(parameters)
    }

    fn optimizer_kind(&self) -> String {
        format!("{:?}", self.optimizer.update())
    }

    fn fixed(&self) -> Fixed {
        let ScheduleState {
            learning_rate,
            shape,
            warm_up,
            ..
        } = self.schedule.clone().into();
        Fixed {
            seed: self.options.seed,
            accumulation: self.options.accumulation,
            goal: self.options.goal,
            metrics: self.task.metrics().into_iter().map(str::to_owned).collect(),
            optimizer: self.optimizer.unscheduled_options(&self.schedule),
            groups: self.optimizer.group_factors(),
            learning_rate,
            schedule: shape,
            warm_up,
        }
    }

    /// Everything, of these parameters.
    fn to_checkpoint(&self, parameters: &ModelParameters) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::of_model(&self.model, parameters)?;
        self.task.complete(&mut checkpoint)?;
        let device = self.device.as_ref();
        let state = self.optimizer.save(device, &self.weights.optimizer)?;
        checkpoint.optimizer.kind = self.optimizer_kind();
        let shape = vec![state.values.len()];
        let tensors = &mut checkpoint.optimizer.tensors;
        tensors.insert(STATE, shape, state.values)?;
        for (number, state) in self.carried.read(device)?.into_iter().enumerate() {
            tensors.insert(format!("{CARRIED}{number}"), vec![state.len()], state)?;
        }
        checkpoint.position = self.position;
        checkpoint.set_section(TRAINER, &self.fixed())?;
        checkpoint.set_section(STANDING, &self.standing)?;
        checkpoint.set_section(SCHEDULE, &self.schedule)?;
        checkpoint.set_section(STOPPING, &self.stopping)?;
        Ok(checkpoint)
    }

    /// Writes the state as it is now.
    pub(super) fn save_last(&mut self) -> Result<()> {
        let Some(path) = self.last_path() else {
            return Ok(());
        };
        let sum = self.device.read(&self.weights.loss_sum, 0..1)?[0];
        self.standing.loss_sum = Some(sum).filter(|sum| sum.is_finite());
        self.to_checkpoint(&self.current()?)?.save(&path)
    }

    /// Writes the best epoch, which has just ended.
    pub(super) fn save_best(&self) -> Result<()> {
        match (self.best_path(), &self.best) {
            (Some(path), Some(best)) => self.to_checkpoint(best)?.save(&path),
            _ => Ok(()),
        }
    }

    /// The log from the current epoch on, where there is a folder.
    pub(super) fn open_log(&self) -> Result<Option<MetricsLog>> {
        let Some(folder) = &self.options.folder else {
            return Ok(None);
        };
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, "make", &error))?;
        let mut columns = vec!["loss"];
        let metrics = self.task.metrics();
        columns.extend(&metrics);
        columns.extend(["learning_rate", "tokens", "seconds"]);
        MetricsLog::open(&folder.join("training"), &columns, self.position.epoch).map(Some)
    }

    /// Logs the epoch that has just ended, and draws all of them.
    pub(super) fn log_epoch(&self, log: &mut MetricsLog) -> Result<()> {
        let Some(epoch) = self.standing.epochs.last() else {
            return Ok(());
        };
        let mut values = vec![epoch.loss.unwrap_or(f64::NAN)];
        values.extend(&epoch.metrics);
        let tokens = self.standing.tokens as f64;
        values.extend([epoch.learning_rate, tokens, self.standing.seconds]);
        log.append(self.position.epoch - 1, &values)?;
        match self.file("learning_curve.svg") {
            Some(path) => self.draw(&path),
            None => Ok(()),
        }
    }

    #[cfg(not(feature = "report"))]
    fn draw(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    /// Loss and metrics over the epochs.
    #[cfg(feature = "report")]
    fn draw(&self, path: &Path) -> Result<()> {
        use crate::plot::{Curve, Panel, draw};

        let epochs = &self.standing.epochs;
        let numbered = || (1..=epochs.len()).map(|number| number as f64);
        let losses = epochs.iter().map(|epoch| epoch.loss.unwrap_or(f64::NAN));
        let loss = Curve::new("training loss", numbered().zip(losses));
        let mut panels = vec![Panel::new("Training", ["epoch", "loss"], vec![loss])];
        for (index, name) in self.task.metrics().into_iter().enumerate() {
            let values = epochs.iter().map(|epoch| epoch.metrics[index]);
            let curve = Curve::new(name, numbered().zip(values));
            panels.push(Panel::new(name, ["epoch", name], vec![curve]));
        }
        draw(path, &panels)
    }
}
