//! The training loop: epochs of batches, a schedule, early stopping, checkpoints, and a way out at any step.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::groups::ParameterGroup;
use super::log::MetricsLog;
use super::observer::{EpochReport, Observer};
use super::optimizer::{Optimizer, OptimizerBuffers, OptimizerOptions, OptimizerRegions};
use super::optimizer_state::StepCounts;
use super::progress::Progress;
use super::schedule::{Goal, Schedule, ScheduleShape, WarmUp};
use super::stopping::{EarlyStopping, Interrupt, Verdict};
use super::task::Task;
use crate::checkpoint::Position;
use crate::device::{Device, DeviceBuffer, Plan};
use crate::error::{Error, Result};
use crate::model::{
    CarriedStates, Model, ModelLayout, ModelParameters, ModelPlaces, Predictor, PushedModel,
    Wanted, write,
};
use crate::nn::BatchShape;
use crate::ops::{BufferId, Elementwise, ElementwiseKind, Mode, Program, Role, Section};
use crate::rnn::{GradientMode, NetworkOptions};

/// How often the loss is looked at while an epoch runs; each look waits for the device.
const LOOK: Duration = Duration::from_secs(1);

/// Parameters that are trained with another step size or another weight decay than the rest, by name.
///
/// ```
/// use wgpu_rnn::train::NamedGroup;
/// let groups = [
///     // No decay of biases and of what scales normalised values.
///     NamedGroup::new(&["*.bias*", "norm.weight"]),
///     NamedGroup { learning_rate_factor: 0.1, ..NamedGroup::new(&["embedding.*"]) },
/// ];
/// # assert_eq!(groups[0].weight_decay, 0.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NamedGroup {
    /// Patterns of names, in which `*` stands for any characters.
    pub patterns: Vec<String>,
    /// What the learning rate is multiplied by.
    pub learning_rate_factor: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl NamedGroup {
    /// Factor 1, no decay.
    pub fn new(patterns: &[&str]) -> Self {
        Self {
            patterns: patterns.iter().map(ToString::to_string).collect(),
            learning_rate_factor: 1.0,
            weight_decay: 0.0,
        }
    }
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerOptions {
    /// Passes over the data at most.
    pub epochs: u64,
    /// How parameters change.
    pub optimizer: OptimizerOptions,
    /// Parameters with a learning rate or a decay of their own.
    pub groups: Vec<NamedGroup>,
    /// How the optimizer's learning rate changes from step to step.
    pub schedule: ScheduleShape,
    /// How it rises before.
    pub warm_up: WarmUp,
    /// Batches whose mean gradient makes a step. Fewer are left at an epoch's end where they do not divide.
    pub accumulation: u64,
    /// Of the initial parameters and of dropout.
    pub seed: u64,
    /// Where the task's first metric shall go.
    pub goal: Goal,
    /// Epochs in a row without a better metric that end training; 0: none does.
    pub patience: u64,
    /// By how much a metric has to be better to count.
    pub least_change: f64,
    /// The first metric that is good enough: training ends with it.
    pub target: Option<f64>,
    /// Where to write, if anywhere: `best.safetensors` and `last.safetensors` with their cards, `training.jsonl` and
    /// `training.csv`, and with the feature `report` `learning_curve.svg`.
    pub folder: Option<PathBuf>,
    /// Steps after which `last.safetensors` is written within an epoch; it is after each epoch in any case.
    pub save_every: Option<u64>,
}

impl Default for TrainerOptions {
    /// 10 epochs of Adam at a constant rate of 1e-3, a step a batch, a metric to be minimised, 3 epochs of patience, nothing
    /// written.
    fn default() -> Self {
        Self {
            epochs: 10,
            optimizer: OptimizerOptions::adam(1e-3),
            groups: Vec::new(),
            schedule: ScheduleShape::Constant,
            warm_up: WarmUp::none(),
            accumulation: 1,
            seed: 0,
            goal: Goal::Minimize,
            patience: 3,
            least_change: 0.0,
            target: None,
            folder: None,
            save_every: None,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// After the last epoch.
    Finished,
    /// Patience was at an end.
    Stopped,
    /// The metric was as good as [`TrainerOptions::target`].
    Reached,
    /// Someone asked for it. What was reached is saved.
    Interrupted,
}

/// An epoch as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Mean of its batches' losses, unless one was not finite.
    pub loss: Option<f64>,
    /// In the order of [`Task::metrics`].
    pub metrics: Vec<f64>,
    /// Of its last step.
    pub learning_rate: f64,
}

/// What training came to so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Its epochs.
    pub epochs: Vec<EpochRecord>,
    /// Batches.
    pub batches: u64,
    /// Timesteps.
    pub tokens: u64,
    /// Seconds of training; evaluation and saving are left out.
    pub seconds: f64,
    /// Bytes of the largest plan on the device.
    pub plan_bytes: u64,
    /// The sum of the current epoch's losses, as far as it is a number.
    pub loss_sum: Option<f32>,
}

impl Standing {
    /// Timesteps a second; `None` before the first.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens as f64 / self.seconds)
    }
}

/// What training changes, on the device.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) parameters: DeviceBuffer,
    gradients: DeviceBuffer,
    /// Sum of a step's gradients, where several batches make one.
    total: Option<DeviceBuffer>,
    pub(super) optimizer: DeviceBuffer,
    /// Sum of the losses of an epoch: read once in a while instead of at each step.
    pub(super) loss_sum: DeviceBuffer,
}

/// A program for batches of one shape.
#[derive(Debug)]
pub(super) struct Loaded {
    shape: BatchShape,
    plan: Box<dyn Plan>,
    pushed: PushedModel,
    optimizer: OptimizerBuffers,
}

/// Trains a [`Model`] on a [`Task`]'s data. Between input and update nothing goes to the host.
///
/// Each step: the batch is written, the program runs, the optimizer steps, all in one submission. After an epoch the task is
/// evaluated, and the state is saved where there is a folder. A run that was interrupted or killed goes on from its last
/// checkpoint with [`resume`](Self::resume), on the same device bit for bit.
///
/// `examples/tickets` and `examples/compare` train with it.
#[derive(Debug)]
pub struct Trainer<T: Task> {
    pub(super) device: Arc<dyn Device>,
    pub(super) model: Model,
    pub(super) task: T,
    pub(super) optimizer: Optimizer,
    pub(super) schedule: Schedule,
    pub(super) stopping: EarlyStopping,
    pub(super) options: TrainerOptions,
    pub(super) weights: Weights,
    pub(super) position: Position,
    pub(super) standing: Standing,
    /// Parameters of the best epoch.
    pub(super) best: Option<ModelParameters>,
    pub(super) loaded: Option<Loaded>,
    pub(super) carried: CarriedStates,
    /// When the mean loss was last looked at, and what it was.
    looked: (Instant, Option<f64>),
}

impl<T: Task> Trainer<T> {
    /// Before the first step, with the model's [initial parameters](Model::initial).
    ///
    /// # Errors
    /// [`Error::Option`] for no epochs, an accumulation of 0, a target that is not a number, a group of no parameters or a number out
    /// of its range; [`Error::State`] for a model without a loss; the device's errors.
    pub fn new(
        device: Arc<dyn Device>,
        model: &Model,
        task: T,
        options: TrainerOptions,
    ) -> Result<Self> {
        check(&options)?;
        if task.metrics().is_empty() {
            return Err(Error::data("metrics of the task", "at least one", "none"));
        }
        if !model.has_loss() {
            return Err(Error::State(
                "a model that is trained needs a loss that is minimised",
            ));
        }
        let len = model.layout().len();
        let optimizer = optimizer(model.layout(), &options)?;
        let total = (options.accumulation > 1).then(|| device.buffer("gradient sum", len));
        let weights = Weights {
            parameters: device.buffer("parameters", len)?,
            gradients: device.buffer("gradients", len)?,
            total: total.transpose()?,
            optimizer: optimizer.new_state(device.as_ref())?,
            loss_sum: device.buffer("loss sum", 1)?,
        };
        let mut trainer = Self {
            stopping: EarlyStopping::new(options.goal, options.patience, options.least_change)?,
            schedule: Schedule::new(
                options.optimizer.learning_rate,
                options.schedule,
                options.warm_up,
            )?,
            position: Position {
                seed: options.seed,
                ..Position::default()
            },
            standing: Standing::default(),
            best: None,
            loaded: None,
            carried: CarriedStates::default(),
            looked: (Instant::now(), None),
            model: model.clone(),
            device,
            task,
            optimizer,
            options,
            weights,
        };
        let initial = trainer.model.initial(trainer.options.seed)?;
        trainer.set_parameters(&initial)?;
        Ok(trainer)
    }

    /// Begins with other parameters than the model's initial ones, such as those of an earlier training.
    ///
    /// # Errors
    /// [`Error::State`] after the first step; [`Error::Shape`] if they are another model's; the device's errors.
    pub fn set_parameters(&mut self, parameters: &ModelParameters) -> Result<()> {
        if self.standing.batches > 0 {
            return Err(Error::State(
                "training has begun: its parameters are its own",
            ));
        }
        self.model.layout().check_same(parameters.layout())?;
        self.device
            .write(&self.weights.parameters, 0, parameters.data())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The task.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Where it stands in the data.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What it came to so far.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The best metric so far and when it was.
    pub fn stopping(&self) -> &EarlyStopping {
        &self.stopping
    }

    /// The parameters as they are now, on the device.
    pub fn parameters(&self) -> &DeviceBuffer {
        &self.weights.parameters
    }

    /// The parameters of the best epoch; `None` before the first.
    pub fn best_parameters(&self) -> Option<&ModelParameters> {
        self.best.as_ref()
    }

    /// How many steps were taken and how many left out because a gradient was not finite.
    ///
    /// # Errors
    /// The device's.
    pub fn counts(&self) -> Result<StepCounts> {
        self.optimizer
            .counts(self.device.as_ref(), &self.weights.optimizer)
    }

    /// Trains until the last epoch is behind it, patience ends or someone interrupts.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the optimizer halted, or if a loss is not finite without a gradient that is; the device's, the
    /// task's and the file system's errors. What was saved before stays.
    pub fn run(&mut self, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<End> {
        let end = self.run_epochs(interrupt, observer);
        observer.end();
        end
    }

    fn run_epochs(&mut self, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<End> {
        let mut log = self.open_log()?;
        let per_epoch = self.epoch_batches(0)?.len() as u64;
        let steps = per_epoch.div_ceil(self.options.accumulation);
        let total = steps.saturating_mul(self.options.epochs);
        let mut progress = Progress::resumed(total, self.position.step);
        while self.position.epoch < self.options.epochs {
            if let Some(end) = self.early_end() {
                return Ok(end);
            }
            let batches = self.epoch_batches(self.position.epoch)?;
            let done = usize::try_from(self.position.batch).unwrap_or(usize::MAX);
            let rest = batches.get(done..).ok_or_else(|| {
                let expected = format!("at least {done}, where training stands");
                let what = format!("batches of epoch {}", self.position.epoch);
                Error::data(what, expected, batches.len())
            })?;
            if !self.run_batches(rest, interrupt, (&mut progress, observer))? {
                self.save_last()?;
                return Ok(End::Interrupted);
            }
            let start = Instant::now();
            self.end_epoch(batches.len(), log.as_mut(), observer)?;
            progress.pause(start.elapsed());
        }
        Ok(self.early_end().unwrap_or(End::Finished))
    }

    /// Why it should not go on, if so.
    fn early_end(&self) -> Option<End> {
        let reached = |(best, target): (f64, f64)| match self.options.goal {
            Goal::Minimize => best <= target,
            Goal::Maximize => best >= target,
        };
        match self.stopping.best.zip(self.options.target) {
            Some(both) if reached(both) => Some(End::Reached),
            _ => self.stopping.stops().then_some(End::Stopped),
        }
    }

    fn epoch_batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let batches = self.task.batches(epoch)?;
        match batches.is_empty() {
            true => Err(Error::data(
                format!("batches of epoch {epoch}"),
                "at least one",
                "none",
            )),
            false => Ok(batches),
        }
    }

    /// The rest of an epoch; returns whether it came to its end.
    fn run_batches(
        &mut self,
        batches: &[Vec<usize>],
        interrupt: &Interrupt,
        (progress, observer): (&mut Progress, &mut dyn Observer),
    ) -> Result<bool> {
        let accumulation = usize::try_from(self.options.accumulation).unwrap_or(usize::MAX);
        for group in batches.chunks(accumulation) {
            if interrupt.is_set() {
                return Ok(false);
            }
            let start = Instant::now();
            let tokens = self.step(group)?;
            if self.looked.0.elapsed() >= LOOK {
                self.mean_loss()?;
            }
            let took = start.elapsed();
            self.standing.seconds += took.as_secs_f64();
            progress.step(tokens, took);
            observer.step(progress, self.looked.1);
            let every = self.options.save_every;
            if every.is_some_and(|every| self.position.step.is_multiple_of(every)) {
                self.save_last()?;
            }
        }
        let start = Instant::now();
        // The read waits for all steps.
        self.mean_loss()?;
        self.standing.seconds += start.elapsed().as_secs_f64();
        Ok(true)
    }

    /// One step from the mean gradient of these batches; returns their tokens.
    fn step(&mut self, group: &[Vec<usize>]) -> Result<u64> {
        self.optimizer
            .set_learning_rate(self.schedule.learning_rate())?;
        if let Some(momentum) = self.schedule.momentum() {
            self.optimizer.set_momentum(momentum)?;
        }
        let scale = self.optimizer.options().gradient_scale;
        self.optimizer
            .set_gradient_scale(scale / group.len() as f64)?;
        let settings = self.optimizer.settings();
        self.optimizer.set_gradient_scale(scale)?;
        let mut tokens = 0;
        for (at, samples) in group.iter().enumerate() {
            let batch = self.task.batch(samples)?;
            self.model.check_values(&batch)?;
            self.load(self.model.shape_of(&batch)?)?;
            self.carried
                .clear(self.device.as_ref(), batch.fresh_places())?;
            let loaded = self.loaded.as_mut();
            let loaded = loaded.ok_or(Error::State("no program is loaded"))?;
            let plan = loaded.plan.as_mut();
            // Odd, so that no two of 2^64 batches have the same.
            let odd = 0x9e37_79b9_7f4a_7c15_u64;
            let seed = self.standing.batches.wrapping_mul(odd);
            plan.set_seed(self.options.seed.wrapping_add(seed))?;
            write(plan, &loaded.pushed.inputs, &batch)?;
            let is_last = at + 1 == group.len();
            if is_last {
                plan.write(loaded.optimizer.settings, &settings)?;
            }
            plan.run_all(&Section::ALL[..if is_last { 4 } else { 3 }])?;
            self.standing.batches += 1;
            self.standing.plan_bytes = self.standing.plan_bytes.max(plan.bytes());
            tokens += tokens_of(&loaded.shape);
        }
        self.standing.tokens += tokens;
        self.position.batch += group.len() as u64;
        self.position.step += 1;
        self.schedule.step();
        Ok(tokens)
    }

    /// Sees to it that a program for batches of this shape is loaded.
    fn load(&mut self, shape: BatchShape) -> Result<()> {
        if { self.loaded.as_ref() }.is_some_and(|loaded| loaded.shape == shape) {
            return Ok(());
        }
        // Its memory can serve the next one.
        self.loaded = None;
        let len = self.optimizer.len();
        let mut program = Program::new();
        let mut bound = Vec::new();
        let weights = &self.weights;
        let mut external = |label, len, buffer: &DeviceBuffer| {
            let id = program.buffer(label, len, Role::External);
            bound.push((id, buffer.clone()));
            id
        };
        let parameters = external("parameters", len, &weights.parameters);
        let gradients = external("gradients", len, &weights.gradients);
        let state_len = self.optimizer.state_len();
        let state = external("optimizer state", state_len, &weights.optimizer);
        let loss_sum = external("loss sum", 1, &weights.loss_sum);
        let total = weights.total.as_ref();
        let total = total.map(|total| external("gradient sum", len, total));
        let options = NetworkOptions {
            mode: Mode::Training,
            gradients: Some(GradientMode::Save),
            ..NetworkOptions::on(self.device.as_ref())
        };
        let places = ModelPlaces {
            parameters: parameters.into(),
            gradients: Some(gradients.into()),
        };
        let wanted = Wanted::default();
        let pushed = self
            .model
            .push(&mut program, &shape, &options, places, wanted)?;
        let no_loss = Error::State("the model has no loss that is minimised");
        let loss = pushed.loss.ok_or(no_loss)?;
        let mut add = |a, target: BufferId, len| {
            let operation = Elementwise {
                kind: ElementwiseKind::Accumulate,
                a,
                b: None,
                target: target.into(),
                len,
            };
            program.push(Section::Backward, operation);
        };
        add(loss, loss_sum, 1);
        if let Some(total) = total {
            add(gradients.into(), total, len);
        }
        let regions = OptimizerRegions {
            parameters: parameters.into(),
            gradients: total.unwrap_or(gradients).into(),
            state: state.into(),
        };
        let optimizer = self.optimizer.push(&mut program, regions);
        if total.is_some() {
            self.optimizer.push_clearing(&mut program, regions);
        }
        let device = self.device.as_ref();
        bound.extend(
            self.carried
                .bindings(device, &pushed.carried, shape.sequences())?,
        );
        self.loaded = Some(Loaded {
            shape,
            plan: self.device.load(program, &bound)?,
            pushed,
            optimizer,
        });
        Ok(())
    }

    /// Looks at the mean loss of the epoch's batches so far.
    fn mean_loss(&mut self) -> Result<()> {
        let sum = self.device.read(&self.weights.loss_sum, 0..1)?[0];
        self.standing.loss_sum = Some(sum).filter(|sum| sum.is_finite());
        let mean = f64::from(sum) / self.position.batch as f64;
        self.looked = (Instant::now(), Some(mean));
        Ok(())
    }

    /// Evaluates, logs, saves.
    fn end_epoch(
        &mut self,
        batches: usize,
        log: Option<&mut MetricsLog>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let counts = self.counts()?;
        counts.check()?;
        let loss = self
            .standing
            .loss_sum
            .map(|sum| f64::from(sum) / batches as f64);
        if loss.is_none() && counts.left_out == 0 {
            return Err(Error::NonFinite { step: counts.steps });
        }
        let metrics = self.evaluate()?;
        let is_best = self.stopping.observe(metrics[0])? == Verdict::Best;
        self.schedule.observe(metrics[0])?;
        self.standing.epochs.push(EpochRecord {
            loss,
            metrics: metrics.clone(),
            learning_rate: self.optimizer.options().learning_rate,
        });
        self.position.epoch += 1;
        self.position.batch = 0;
        self.device.write(&self.weights.loss_sum, 0, &[0.0])?;
        self.standing.loss_sum = Some(0.0);
        if is_best {
            self.best = Some(self.current()?);
            self.save_best()?;
        }
        self.save_last()?;
        if let Some(log) = log {
            self.log_epoch(log)?;
        }
        let names = self.task.metrics();
        let metrics: Vec<(&str, f64)> = names.into_iter().zip(metrics).collect();
        observer.epoch(&EpochReport {
            epochs: self.position.epoch,
            most_epochs: self.options.epochs,
            loss: loss.unwrap_or(f64::NAN),
            metrics: &metrics,
            is_best,
            seconds: self.standing.seconds,
        });
        Ok(())
    }

    /// The parameters as they are now.
    pub(super) fn current(&self) -> Result<ModelParameters> {
        let len = self.optimizer.len();
        let data = self.device.read(&self.weights.parameters, 0..len)?;
        ModelParameters::from_flat(self.model.layout().clone(), data)
    }

    fn evaluate(&self) -> Result<Vec<f64>> {
        let parameters = self.weights.parameters.clone();
        // A task runs over its data once: of a plan that it has left behind nothing is kept.
        let mut predictor =
            Predictor::with_buffer(self.device.clone(), &self.model, parameters)?.most_bytes(0);
        let metrics = self.task.evaluate(&mut predictor)?;
        let names = self.task.metrics();
        if metrics.len() != names.len() {
            return Err(Error::shape(
                "metrics of the task",
                names.len(),
                metrics.len(),
            ));
        }
        match { names.iter().zip(&metrics) }.find(|(_, metric)| !metric.is_finite()) {
            Some((name, metric)) => Err(Error::data(
                format!("metric `{name}`"),
                "a finite number",
                metric,
            )),
            None => Ok(metrics),
        }
    }
}

/// Refuses options out of their range.
fn check(options: &TrainerOptions) -> Result<()> {
    for (option, value) in [
        ("epochs", options.epochs),
        ("accumulation", options.accumulation),
        ("save_every", options.save_every.unwrap_or(1)),
    ] {
        if value == 0 {
            return Err(Error::option(option, "must be at least 1, is 0"));
        }
    }
    match options.target.is_some_and(f64::is_nan) {
        true => Err(Error::option("target", "must be a number, is NaN")),
        false => Ok(()),
    }
}

/// The optimizer of a model's parameters, group by group; frozen ones are in a group of rate 0.
fn optimizer(layout: &ModelLayout, options: &TrainerOptions) -> Result<Optimizer> {
    let mut optimizer = Optimizer::new(layout.len(), options.optimizer)?;
    for group in &options.groups {
        let patterns: Vec<&str> = group.patterns.iter().map(String::as_str).collect();
        optimizer = optimizer.group(ParameterGroup {
            ranges: layout.trained_ranges(&patterns)?,
            learning_rate_factor: group.learning_rate_factor,
            weight_decay: group.weight_decay,
        })?;
    }
    let frozen = layout.frozen();
    match frozen.is_empty() {
        true => Ok(optimizer),
        false => optimizer.group(ParameterGroup {
            ranges: frozen,
            learning_rate_factor: 0.0,
            weight_decay: 0.0,
        }),
    }
}

/// Timesteps of a batch; sequences where there are none.
fn tokens_of(shape: &BatchShape) -> u64 {
    match shape.tokens() {
        0 => shape.sequences() as u64,
        tokens => tokens as u64,
    }
}
