//! Learning rates that change from step to step, on the host.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::checks::{check_not_negative, check_positive};
use crate::error::{Error, Result};

/// Whether a metric is to become small or large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Goal {
    /// Small, as an error.
    Minimize,
    /// Large, as an accuracy.
    Maximize,
}

/// How a learning rate changes; formulas and meaning of `t`, the number of steps taken, are those of PyTorch's schedulers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum ScheduleShape {
    /// `rate`
    Constant,
    /// `rate * factor^floor(t / every)`
    Step {
        /// Steps between changes.
        every: u64,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// `rate * factor^t`
    Exponential {
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Half a cosine (Loshchilov and Hutter 2017, without restarts) from `rate` to `minimum`, where it stays.
    Cosine {
        /// Steps until the minimum.
        steps: u64,
        /// The last rate.
        minimum: f64,
    },
    /// Half a cosine up to `rate`, half a cosine down (Smith and Topin 2018), and the momentum the other way.
    OneCycle {
        /// All steps, two at least; later ones are as the last.
        steps: u64,
        /// Share of the steps that go up.
        rising: f64,
        /// The first rate is `rate` divided by this.
        first_divisor: f64,
        /// The last rate is the first divided by this.
        last_divisor: f64,
        /// Smallest and largest momentum; see [`Schedule::momentum`].
        momentum: Option<[f64; 2]>,
    },
    /// `rate`, and less whenever a metric has not become better for a while: see [`Schedule::observe`].
    Plateau {
        /// Where the metric shall go.
        goal: Goal,
        /// What the rate is multiplied by.
        factor: f64,
        /// Observations without improvement that are borne.
        patience: u64,
        /// Share of the best metric by which another must be better.
        threshold: f64,
        /// Observations after a change that do not count.
        cooldown: u64,
        /// The smallest rate.
        minimum: f64,
    },
}

impl ScheduleShape {
    /// One cycle with PyTorch's constants over so many steps.
    pub fn one_cycle(steps: u64) -> Self {
        Self::OneCycle {
            steps,
            rising: 0.3,
            first_divisor: 25.0,
            last_divisor: 1e4,
            momentum: Some([0.85, 0.95]),
        }
    }

    /// A plateau with PyTorch's constants.
    pub fn plateau(goal: Goal) -> Self {
        Self::Plateau {
            goal,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            minimum: 0.0,
        }
    }

    fn check(&self) -> Result<()> {
        let share = |option, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::option(
                option,
                format!("must be from 0 to 1, is {value}"),
            )),
        };
        let at_least = |option, value: u64, least: u64| match value >= least {
            true => Ok(()),
            false => Err(Error::option(
                option,
                format!("must be at least {least}, is {value}"),
            )),
        };
        match *self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => {
                at_least("every", every, 1)?;
                check_positive("factor", factor)
            }
            Self::Exponential { factor } => check_positive("factor", factor),
            Self::Cosine { steps, minimum } => {
                at_least("steps", steps, 1)?;
                check_not_negative("minimum", minimum)
            }
            Self::OneCycle {
                steps,
                rising,
                first_divisor,
                last_divisor,
                momentum,
            } => {
                at_least("steps", steps, 2)?;
                share("rising", rising)?;
                check_positive("first_divisor", first_divisor)?;
                check_positive("last_divisor", last_divisor)?;
                (momentum.iter().flatten()).try_for_each(|value| share("momentum", *value))
            }
            Self::Plateau {
                factor,
                threshold,
                minimum,
                ..
            } => {
                share("factor", factor)?;
                share("threshold", threshold)?;
                check_not_negative("minimum", minimum)
            }
        }
    }
}

/// A linear rise at the beginning: from `first * rate` to `rate` in so many steps; the shape begins behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// Steps; 0: none.
    pub steps: u64,
    /// Share of the rate at the first step.
    pub first: f64,
}

impl WarmUp {
    /// None: the first step has the whole rate.
    pub fn none() -> Self {
        Self {
            steps: 0,
            first: 1.0,
        }
    }
}

/// A learning rate on its way. Serialise it to go on later where it was.
///
/// ```
/// use wgpu_rnn::train::{Schedule, ScheduleShape, WarmUp};
/// let shape = ScheduleShape::Cosine { steps: 100, minimum: 0.0 };
/// let mut schedule = Schedule::new(1e-3, shape, WarmUp { steps: 10, first: 0.1 })?;
/// assert_eq!(schedule.learning_rate(), 1e-4);
/// for _ in 0..10 {
///     schedule.step();
/// }
/// assert_eq!(schedule.learning_rate(), 1e-3);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleState", into = "ScheduleState")]
pub struct Schedule(ScheduleState);

/// What a [`Schedule`] is written down as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// The rate without any change; of one cycle the largest.
    pub learning_rate: f64,
    /// How it changes.
    pub shape: ScheduleShape,
    /// The beginning.
    pub warm_up: WarmUp,
    /// Steps taken.
    pub steps: u64,
    /// Of a plateau: the best metric so far.
    pub best: Option<f64>,
    /// Of a plateau: what the rate is at present.
    pub reduced: f64,
    /// Of a plateau: observations since the best one or the last change.
    pub waited: u64,
    /// Of a plateau: observations that will not count.
    pub cooling: u64,
}

impl TryFrom<ScheduleState> for Schedule {
    type Error = Error;

    /// # Errors
    /// [`Error::Option`] names the number that is out of its range.
    fn try_from(state: ScheduleState) -> Result<Self> {
        check_not_negative("learning_rate", state.learning_rate)?;
        check_not_negative("learning_rate", state.reduced)?;
        check_not_negative("warm_up", state.warm_up.first)?;
        state.shape.check()?;
        Ok(Self(state))
    }
}

impl From<Schedule> for ScheduleState {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

impl Schedule {
    /// Before the first step.
    ///
    /// # Errors
    /// [`Error::Option`] names the number that is out of its range.
    pub fn new(learning_rate: f64, shape: ScheduleShape, warm_up: WarmUp) -> Result<Self> {
        Self::try_from(ScheduleState {
            learning_rate,
            shape,
            warm_up,
            steps: 0,
            best: None,
            reduced: learning_rate,
            waited: 0,
            cooling: 0,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.0.steps
    }

    /// Counts a step.
    pub fn step(&mut self) {
        self.0.steps += 1;
    }

    /// The rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        let WarmUp { steps, first } = self.0.warm_up;
        if self.0.steps < steps {
            let share = self.0.steps as f64 / steps as f64;
            return self.shaped(0) * (first + (1.0 - first) * share);
        }
        self.shaped(self.0.steps - steps)
    }

    /// The momentum (or Adam's `beta1`) of the next step, if the shape has one: for
    /// [`Optimizer::set_momentum`](super::Optimizer::set_momentum).
    pub fn momentum(&self) -> Option<f64> {
        let ScheduleShape::OneCycle {
            steps,
            rising,
            momentum: Some([least, largest]),
            ..
        } = self.0.shape
        else {
            return None;
        };
        let at = self.0.steps.saturating_sub(self.0.warm_up.steps);
        Some(one_cycle(at, steps, rising, [largest, least, largest]))
    }

    /// Tells a plateau the metric, usually once an epoch. Other shapes take no notice.
    ///
    /// # Errors
    /// [`Error::Option`] if the metric is not a number.
    pub fn observe(&mut self, metric: f64) -> Result<()> {
        if metric.is_nan() {
            return Err(Error::option("metric", "must be a number, is NaN"));
        }
        let ScheduleShape::Plateau {
            goal,
            factor,
            patience,
            threshold,
            cooldown,
            minimum,
        } = self.0.shape
        else {
            return Ok(());
        };
        let state = &mut self.0;
        let better = state.best.is_none_or(|best| match goal {
            Goal::Minimize => metric < best * (1.0 - threshold),
            Goal::Maximize => metric > best * (1.0 + threshold),
        });
        match better {
            true => (state.best, state.waited) = (Some(metric), 0),
            false => state.waited += 1,
        }
        if state.cooling > 0 {
            (state.cooling, state.waited) = (state.cooling - 1, 0);
        }
        if state.waited > patience {
            state.reduced = (state.reduced * factor).max(minimum.min(state.reduced));
            (state.cooling, state.waited) = (cooldown, 0);
        }
        Ok(())
    }

    /// The rate `t` steps behind the warm-up.
    fn shaped(&self, t: u64) -> f64 {
        let rate = self.0.learning_rate;
        match self.0.shape {
            ScheduleShape::Constant => rate,
            ScheduleShape::Step { every, factor } => rate * factor.powf((t / every) as f64),
            ScheduleShape::Exponential { factor } => rate * factor.powf(t as f64),
            ScheduleShape::Cosine { steps, minimum } => {
                half_cosine([rate, minimum], t.min(steps) as f64 / steps as f64)
            }
            ScheduleShape::OneCycle {
                steps,
                rising,
                first_divisor,
                last_divisor,
                ..
            } => {
                let first = rate / first_divisor;
                one_cycle(t, steps, rising, [first, rate, first / last_divisor])
            }
            ScheduleShape::Plateau { .. } => self.0.reduced,
        }
    }
}

/// From one value to the other along half a cosine.
fn half_cosine([from, to]: [f64; 2], share: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * share).cos())
}

/// From the first value over the second, at the step `rising * steps - 1` (which need not be whole), to the last.
fn one_cycle(t: u64, steps: u64, rising: f64, [first, middle, last]: [f64; 3]) -> f64 {
    let end = (steps - 1) as f64;
    let top = (rising * steps as f64 - 1.0).clamp(0.0, end);
    let t = (t as f64).min(end);
    match t <= top {
        // Without a rise it begins at the top.
        true if top == 0.0 => middle,
        true => half_cosine([first, middle], t / top),
        false => half_cosine([middle, last], (t - top) / (end - top)),
    }
}
