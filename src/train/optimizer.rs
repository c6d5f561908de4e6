//! SGD, Adam, AdamW and RMSprop on the device.
//!
//! Parameters, gradients and the optimizer's state stay on the device; so do the norm, the decision whether a step is
//! taken, and the count of steps that the bias corrections follow. The host contributes a few numbers to a step (learning
//! rate, decay, largest norm): one small write and no read.

use serde::{Deserialize, Serialize};

use super::checks::{check_not_negative, check_positive};
use super::groups::{Groups, ParameterGroup};
use super::schedule::Schedule;
use crate::error::{Error, Result, checked_product};
use crate::ops::{
    BufferId, Fill, GradientNorm, OptimizerControl, OptimizerStep, Program, Region, Role, Section,
    StepSettings, UpdateRule,
};

/// An optimizer with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum OptimizerRule {
    /// Stochastic gradient descent.
    Sgd {
        /// What is kept of the steps before; 0: none.
        momentum: f64,
        /// Nesterov's look-ahead; needs a momentum.
        nesterov: bool,
    },
    /// Adam, and with decoupled decay AdamW.
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Whether weight decay acts on the parameters instead of on the gradients.
        decoupled: bool,
    },
    /// RMSprop.
    RmsProp {
        /// Decay of the mean square.
        alpha: f64,
        /// Added to its root.
        epsilon: f64,
        /// What is kept of the steps before; 0: none.
        momentum: f64,
        /// Whether the variance stands for the mean square.
        centered: bool,
    },
}

impl OptimizerRule {
    /// The kind of step, without the constants.
    pub fn update(&self) -> UpdateRule {
        match *self {
            Self::Sgd { momentum, nesterov } => UpdateRule::Sgd {
                momentum: momentum > 0.0,
                nesterov,
            },
            Self::Adam { decoupled, .. } => UpdateRule::Adam { decoupled },
            Self::RmsProp {
                momentum, centered, ..
            } => UpdateRule::RmsProp {
                momentum: momentum > 0.0,
                centered,
            },
        }
    }

    fn check(&self) -> Result<()> {
        let (decays, epsilon) = match *self {
            Self::Sgd { momentum, nesterov } => {
                if nesterov && momentum == 0.0 {
                    let reason = "needs a momentum greater than zero";
                    return Err(Error::option("nesterov", reason));
                }
                ([("momentum", momentum); 2], 0.0)
            }
            Self::Adam {
                beta1,
                beta2,
                epsilon,
                ..
            } => ([("beta1", beta1), ("beta2", beta2)], epsilon),
            Self::RmsProp {
                alpha,
                epsilon,
                momentum,
                ..
            } => ([("alpha", alpha), ("momentum", momentum)], epsilon),
        };
        for (option, decay) in decays {
            if !(0.0..1.0).contains(&decay) {
                let reason = format!("must be at least 0 and less than 1, is {decay}");
                return Err(Error::option(option, reason));
            }
        }
        check_not_negative("epsilon", epsilon)
    }
}

/// What is done to gradients that are too large.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Clipping {
    /// All are multiplied by `min(1, largest / (norm + 1e-6))`, where `norm` is that of all gradients together (Pascanu et al.
    /// 2013; PyTorch's `clip_grad_norm_`).
    Norm(f64),
    /// Each is clamped to `-largest..=largest` (PyTorch's `clip_grad_value_`).
    Value(f64),
}

/// What is done when a gradient is infinite or NaN. Either way the parameters and the optimizer's state stay as they
/// were, bit for bit, and the step is counted as left out, not as taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum NonFinite {
    /// The next step is taken again.
    #[default]
    Skip,
    /// No step is taken any more, and [`StepCounts::check`](super::StepCounts::check) is an error: the parameters are those
    /// before the gradient that was not finite, however late the host looks.
    Halt,
}

/// An optimizer and what surrounds its steps.
///
/// ```
/// use wgpu_rnn::train::{Clipping, OptimizerOptions};
/// let options = OptimizerOptions {
///     weight_decay: 0.05,
///     clipping: Some(Clipping::Norm(1.0)),
///     ..OptimizerOptions::adam_w(1e-3)
/// };
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptimizerOptions {
    /// The optimizer.
    pub rule: OptimizerRule,
    /// Step size.
    pub learning_rate: f64,
    /// Weight decay of the parameters that are in no [`ParameterGroup`].
    pub weight_decay: f64,
    /// How gradients are clipped.
    pub clipping: Option<Clipping>,
    /// What gradients are multiplied by before all else: one over the number of batches that were accumulated, one over the
    /// factor of a scaled loss.
    pub gradient_scale: f64,
    /// What follows a gradient that is not finite.
    pub non_finite: NonFinite,
}

impl OptimizerOptions {
    /// A rule and a step size; no decay, no clipping.
    pub fn new(rule: OptimizerRule, learning_rate: f64) -> Self {
        Self {
            rule,
            learning_rate,
            weight_decay: 0.0,
            clipping: None,
            gradient_scale: 1.0,
            non_finite: NonFinite::Skip,
        }
    }

    /// Gradient descent with this momentum (0: none), without look-ahead.
    pub fn sgd(learning_rate: f64, momentum: f64) -> Self {
        let nesterov = false;
        Self::new(OptimizerRule::Sgd { momentum, nesterov }, learning_rate)
    }

    /// Adam with PyTorch's constants.
    pub fn adam(learning_rate: f64) -> Self {
        let rule = OptimizerRule::Adam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            decoupled: false,
        };
        Self::new(rule, learning_rate)
    }

    /// AdamW with PyTorch's constants, a weight decay of 0.01 among them.
    pub fn adam_w(learning_rate: f64) -> Self {
        let rule = OptimizerRule::Adam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            decoupled: true,
        };
        Self {
            weight_decay: 0.01,
            ..Self::new(rule, learning_rate)
        }
    }

    /// RMSprop with PyTorch's constants: without momentum, not centered.
    pub fn rms_prop(learning_rate: f64) -> Self {
        let rule = OptimizerRule::RmsProp {
            alpha: 0.99,
            epsilon: 1e-8,
            momentum: 0.0,
            centered: false,
        };
        Self::new(rule, learning_rate)
    }

    /// Checks all numbers.
    ///
    /// # Errors
    /// [`Error::Option`] names the one that is out of its range.
    pub fn check(&self) -> Result<()> {
        self.rule.check()?;
        check_not_negative("learning_rate", self.learning_rate)?;
        check_not_negative("weight_decay", self.weight_decay)?;
        check_positive("gradient_scale", self.gradient_scale)?;
        match self.clipping {
            Some(Clipping::Norm(largest) | Clipping::Value(largest)) => {
                check_positive("clipping", largest)
            }
            None => Ok(()),
        }
    }
}

/// Where an optimizer finds what it works on.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerRegions {
    /// The flat parameters, updated.
    pub parameters: Region,
    /// Their gradients.
    pub gradients: Region,
    /// [`Optimizer::state_len`] elements, updated; zeros before the first step.
    pub state: Region,
}

/// What an optimizer added to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptimizerBuffers {
    /// Write [`Optimizer::settings`] to it before a step, or whenever they change.
    pub settings: BufferId,
    /// What the last step came to: read it for a [`StepReport`](super::StepReport).
    pub control: BufferId,
}

/// An optimizer of `len` parameters: the host's half.
///
/// ```
/// use wgpu_rnn::cpu::CpuDevice;
/// use wgpu_rnn::ops::{Program, Role, Section};
/// use wgpu_rnn::train::{Optimizer, OptimizerOptions, OptimizerRegions};
/// use wgpu_rnn::{Device, Plan};
///
/// let optimizer = Optimizer::new(2, OptimizerOptions::sgd(0.5, 0.0))?;
/// let mut program = Program::new();
/// let parameters = program.buffer("parameters", 2, Role::Input);
/// let gradients = program.buffer("gradients", 2, Role::Input);
/// let state = program.buffer("optimizer state", optimizer.state_len(), Role::Input);
/// let buffers = optimizer.push(&mut program, OptimizerRegions {
///     parameters: parameters.into(),
///     gradients: gradients.into(),
///     state: state.into(),
/// });
/// let mut plan = CpuDevice::new()?.load(program, &[])?;
/// plan.write(parameters, &[1.0, 2.0])?;
/// plan.write(gradients, &[2.0, -2.0])?;
/// plan.write(buffers.settings, &optimizer.settings())?;
/// plan.run(Section::Update)?;
/// let mut values = [0.0; 2];
/// plan.read(parameters, &mut values)?;
/// assert_eq!(values, [0.0, 3.0]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Optimizer {
    options: OptimizerOptions,
    update: UpdateRule,
    groups: Groups,
    len: usize,
}

impl Optimizer {
    /// For `len` parameters, all in one group.
    ///
    /// # Errors
    /// [`Error::Option`] names the number that is out of its range; [`Error::Overflow`] if the state does not fit a 32-bit
    /// index.
    pub fn new(len: usize, options: OptimizerOptions) -> Result<Self> {
        options.check()?;
        let update = options.rule.update();
        checked_product("optimizer state", &[len, update.slots() + 1])?;
        Ok(Self {
            groups: Groups::new(len, options.weight_decay)?,
            options,
            update,
            len,
        })
    }

    /// Puts parameters into a group of their own. Not for an optimizer that was already pushed.
    ///
    /// # Errors
    /// [`Error::Shape`] if a range leaves the parameters or is another group's too; [`Error::Option`].
    pub fn group(mut self, group: ParameterGroup) -> Result<Self> {
        self.groups.push(&group)?;
        Ok(self)
    }

    /// The options.
    pub fn options(&self) -> &OptimizerOptions {
        &self.options
    }

    /// The options with what `schedule` changes set to zero: what stays the same from step to step.
    pub(super) fn unscheduled_options(&self, schedule: &Schedule) -> OptimizerOptions {
        let mut options = self.options;
        options.learning_rate = 0.0;
        if schedule.momentum().is_some() {
            match &mut options.rule {
                OptimizerRule::Sgd { momentum, .. } | OptimizerRule::RmsProp { momentum, .. } => {
                    *momentum = 0.0;
                }
                OptimizerRule::Adam { beta1, .. } => *beta1 = 0.0,
            }
        }
        options
    }

    /// Factor of the rate and decay of each group, one after the other.
    pub(super) fn group_factors(&self) -> Vec<f64> {
        self.groups.factors().iter().flatten().copied().collect()
    }

    /// The kind of step.
    pub fn update(&self) -> UpdateRule {
        self.update
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements of the state: counters, then for each of the rule's [`slots`](UpdateRule::slots) one element a parameter.
    pub fn state_len(&self) -> usize {
        OptimizerControl::COUNTERS_LEN + self.update.slots() * self.len
    }

    /// The step size of the steps that follow, for a schedule.
    ///
    /// # Errors
    /// [`Error::Option`] if it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        check_not_negative("learning_rate", learning_rate)?;
        self.options.learning_rate = learning_rate;
        Ok(())
    }

    /// The momentum, or Adam's `beta1`, of the steps that follow, for a schedule.
    ///
    /// # Errors
    /// [`Error::Option`] if it is out of its range, or if the optimizer was made without a momentum.
    pub fn set_momentum(&mut self, value: f64) -> Result<()> {
        let mut rule = self.options.rule;
        match &mut rule {
            OptimizerRule::Sgd { momentum, .. } | OptimizerRule::RmsProp { momentum, .. } => {
                *momentum = value;
            }
            OptimizerRule::Adam { beta1, .. } => *beta1 = value,
        }
        rule.check()?;
        if rule.update() != self.update {
            let reason = "can become neither 0 nor more than 0 after the optimizer was made";
            return Err(Error::option("momentum", reason));
        }
        self.options.rule = rule;
        Ok(())
    }

    /// What gradients are multiplied by in the steps that follow.
    ///
    /// # Errors
    /// [`Error::Option`] if it is not a finite number greater than zero.
    pub fn set_gradient_scale(&mut self, scale: f64) -> Result<()> {
        check_positive("gradient_scale", scale)?;
        self.options.gradient_scale = scale;
        Ok(())
    }

    /// Pushes the norm, the decision and the step to [`Section::Update`]. The regions lie in different buffers.
    pub fn push(&self, program: &mut Program, regions: OptimizerRegions) -> OptimizerBuffers {
        let groups = self.groups.factors().len();
        let settings_len = StepSettings::LEN + 2 * groups;
        let settings = program.buffer("optimizer settings", settings_len, Role::Input);
        let control_len = OptimizerControl::CONTROL_LEN;
        let control = program.buffer("optimizer control", control_len, Role::Output);
        let norm_len = GradientNorm::TARGET_LEN;
        let norm = program.buffer("gradient norm", norm_len, Role::Workspace);
        let sums = GradientNorm {
            values: regions.gradients,
            target: norm.into(),
            len: self.len,
        };
        program.push(Section::Update, sums);
        let decision = OptimizerControl {
            norm: norm.into(),
            settings: settings.into(),
            counters: regions.state,
            control: control.into(),
        };
        program.push(Section::Update, decision);
        let segments = self.groups.segments();
        let step = OptimizerStep {
            rule: self.update,
            parameters: regions.parameters,
            gradients: regions.gradients,
            state: regions.state.at(OptimizerControl::COUNTERS_LEN),
            control: control.into(),
            settings: settings.into(),
            segments_table: program.table(&segments),
            segments: segments.len() / 2,
            groups,
            len: self.len,
        };
        program.push(Section::Update, step);
        OptimizerBuffers { settings, control }
    }

    /// Pushes zeros for the gradients behind the step: for gradients that accumulate over several batches.
    pub fn push_clearing(&self, program: &mut Program, regions: OptimizerRegions) {
        let clear = Fill {
            target: regions.gradients,
            len: self.len,
            value: 0.0,
        };
        program.push(Section::Update, clear);
    }

    /// What the device has to know before a step.
    pub fn settings(&self) -> Vec<f32> {
        let options = &self.options;
        let ([momentum, decay], epsilon) = match options.rule {
            OptimizerRule::Sgd { momentum, .. } => ([momentum, 0.0], 0.0),
            OptimizerRule::Adam {
                beta1,
                beta2,
                epsilon,
                ..
            } => ([beta1, beta2], epsilon),
            OptimizerRule::RmsProp {
                alpha,
                epsilon,
                momentum,
                ..
            } => ([momentum, alpha], epsilon),
        };
        // The logarithm of 0, as far as a GPU is sure to have it: a power of it is 0 either way.
        let logarithm = |value: f64| value.ln().max(-1e30) as f32;
        let (largest_norm, largest_value) = match options.clipping {
            Some(Clipping::Norm(largest)) => (largest, 0.0),
            Some(Clipping::Value(largest)) => (0.0, largest),
            None => (0.0, 0.0),
        };
        let settings = StepSettings {
            gradient_scale: options.gradient_scale as f32,
            largest_norm: largest_norm as f32,
            largest_value: largest_value as f32,
            halts: f32::from(u8::from(options.non_finite == NonFinite::Halt)),
            epsilon: epsilon as f32,
            momentum: momentum as f32,
            momentum_rest: (1.0 - momentum) as f32,
            momentum_logarithm: logarithm(momentum),
            decay: decay as f32,
            decay_rest: (1.0 - decay) as f32,
            decay_logarithm: logarithm(decay),
        };
        let mut elements = settings.to_elements().to_vec();
        for [factor, decay] in self.groups.factors() {
            elements.extend([(options.learning_rate * factor) as f32, *decay as f32]);
        }
        elements
    }
}
