//! What happens to gradients: their norm, what a step makes of it, and the step itself, whichever optimizer's.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::{Region, TableOffset};

/// What the smaller of the two sums of a [`GradientNorm`] multiplies values by: `2^-80`. The square of the largest `f32`
/// times this fits `f32` with room for four thousand million of them.
pub const NORM_SCALE: f32 = 1.0 / (1u128 << 80) as f32;

/// One word of a counter counts this far, then the other counts one: `f32` holds both exactly.
pub const COUNTER_CARRY: f32 = (1 << 20) as f32;

/// Sums over values, each in a fixed order: the squares of the finite ones; the same of these times `2^-80`, for norms
/// whose square `f32` does not hold; how many values are not finite.
#[derive(Debug, Clone, Copy)]
pub struct GradientNorm {
    /// `[len]`
    pub values: Region,
    /// `[3]`, written.
    pub target: Region,
    /// Elements.
    pub len: usize,
}

impl GradientNorm {
    /// Elements of the target.
    pub const TARGET_LEN: usize = 3;
}

/// How a step changes parameters: what distinguishes the optimizers when a program is written. `g` is the scaled and
/// clipped gradient, `r` the group's learning rate, `d` its weight decay; the formulas are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UpdateRule {
    /// Stochastic gradient descent, with momentum as in Sutskever et al. 2013 but for the place of `r`:
    /// `g += d p`; `b = momentum b + g`; `p -= r b`, with Nesterov's look-ahead `p -= r (g + momentum b)`.
    Sgd {
        /// Whether there is a momentum; without it `p -= r g`.
        momentum: bool,
        /// Whether it looks ahead.
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015): `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    /// `p -= r / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)`.
    Adam {
        /// Whether decay is apart from the gradient, `p *= 1 - r d` (AdamW, Loshchilov and Hutter 2019), or `g += d p`.
        decoupled: bool,
    },
    /// RMSprop (Tieleman and Hinton 2012; centered: Graves 2013): `g += d p`, `v = alpha v + (1 - alpha) g^2`,
    /// `p -= r g / (sqrt(v) + epsilon)`. With momentum, `b = momentum b + g / (sqrt(v) + epsilon)` and `p -= r b`.
    RmsProp {
        /// Whether there is a momentum.
        momentum: bool,
        /// Whether `v - m^2` stands for `v` in the root, where `m = alpha m + (1 - alpha) g`.
        centered: bool,
    },
}

impl UpdateRule {
    /// Numbers that it keeps for each parameter, in this order: Adam `m, v`; SGD `b`; RMSprop `v`, then `m`, then `b`.
    pub fn slots(self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => momentum.into(),
            Self::Adam { .. } => 2,
            Self::RmsProp { momentum, centered } => {
                1 + usize::from(centered) + usize::from(momentum)
            }
        }
    }
}

/// What the host writes before a step, behind each other as `f32`; then learning rate and weight decay of each group.
/// Differences from 1 and logarithms are taken in double precision: in single precision `1 - 0.999` is off by 5e-5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSettings {
    /// Gradients are multiplied by it first.
    pub gradient_scale: f32,
    /// Gradients of a larger norm are scaled down to this one; 0: they are not.
    pub largest_norm: f32,
    /// Gradients are clamped to this size; 0: they are not.
    pub largest_value: f32,
    /// 1 if no step may be taken after one whose gradients were not finite; 0: only that one is left out.
    pub halts: f32,
    /// Added to roots.
    pub epsilon: f32,
    /// Momentum, or Adam's `b1`.
    pub momentum: f32,
    /// `1 - b1`
    pub momentum_rest: f32,
    /// `ln b1`
    pub momentum_logarithm: f32,
    /// RMSprop's `alpha`, or Adam's `b2`.
    pub decay: f32,
    /// `1 - alpha` or `1 - b2`
    pub decay_rest: f32,
    /// `ln b2`
    pub decay_logarithm: f32,
}

impl StepSettings {
    /// Elements, those of the groups left out.
    pub const LEN: usize = 11;

    /// As the device wants them.
    pub fn to_elements(self) -> [f32; Self::LEN] {
        [
            self.gradient_scale,
            self.largest_norm,
            self.largest_value,
            self.halts,
            self.epsilon,
            self.momentum,
            self.momentum_rest,
            self.momentum_logarithm,
            self.decay,
            self.decay_rest,
            self.decay_logarithm,
        ]
    }

    /// The inverse of [`to_elements`](Self::to_elements).
    pub fn from_elements(elements: [f32; Self::LEN]) -> Self {
        let [
            gradient_scale,
            largest_norm,
            largest_value,
            halts,
            epsilon,
            momentum,
            momentum_rest,
            momentum_logarithm,
            decay,
            decay_rest,
            decay_logarithm,
        ] = elements;
        Self {
            gradient_scale,
            largest_norm,
            largest_value,
            halts,
            epsilon,
            momentum,
            momentum_rest,
            momentum_logarithm,
            decay,
            decay_rest,
            decay_logarithm,
        }
    }
}

/// Decides on a step from the gradients' norm, and counts it: nothing of that goes through the host.
///
/// A step is taken if all gradients are finite and none before it halted the optimizer; only then the counter of steps,
/// which the bias corrections follow, goes on.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerControl {
    /// `[3]`, of a [`GradientNorm`].
    pub norm: Region,
    /// [`StepSettings::LEN`] elements.
    pub settings: Region,
    /// `[5]`, updated: steps taken (units, then multiples of `2^20`), steps left out (likewise), and 1 once it has halted.
    pub counters: Region,
    /// `[7]`, written: whether the step is taken (1 or 0), two factors that the gradients are multiplied by, one after the
    /// other, `1 - b1^t`, `sqrt(1 - b2^t)`, the norm of the scaled gradients before clipping (at most the largest `f32`),
    /// and how many gradients were not finite.
    pub control: Region,
}

impl OptimizerControl {
    /// Elements of the counters.
    pub const COUNTERS_LEN: usize = 5;
    /// Elements of the control.
    pub const CONTROL_LEN: usize = 7;
}

/// One step of an optimizer over all parameters. If the control says so, nothing is touched.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerStep {
    /// How.
    pub rule: UpdateRule,
    /// `[len]`, updated.
    pub parameters: Region,
    /// `[len]`
    pub gradients: Region,
    /// `[slots, len]`, updated; zeros at first.
    pub state: Region,
    /// `[7]`, of an [`OptimizerControl`].
    pub control: Region,
    /// [`StepSettings`], then `[groups, 2]`: learning rate and weight decay.
    pub settings: Region,
    /// `[segments, 2]`, rising: the parameter behind a segment's last one, and the segment's group. The last ends at `len`.
    pub segments_table: TableOffset,
    /// Segments.
    pub segments: usize,
    /// Groups.
    pub groups: usize,
    /// Parameters.
    pub len: usize,
}

impl OptimizerStep {
    /// Elements of the settings.
    pub fn settings_len(&self) -> usize {
        self.groups
            .saturating_mul(2)
            .saturating_add(StepSettings::LEN)
    }

    /// Checks that the segments, the table's words, rise, end where the parameters end and belong to groups that are there.
    ///
    /// # Errors
    /// [`Error::Shape`] if not.
    pub fn check_segments(&self, words: &[u32]) -> Result<()> {
        let mut before = 0;
        for segment in words.chunks_exact(2) {
            let (end, group) = (segment[0] as usize, segment[1] as usize);
            if end < before || end > self.len || group >= self.groups {
                return Err(Error::shape(
                    "segment of an optimizer's step",
                    format!(
                        "an end in {before}..={}, a group below {}",
                        self.len, self.groups
                    ),
                    format!("end {end}, group {group}"),
                ));
            }
            before = end;
        }
        match before == self.len {
            true => Ok(()),
            false => Err(Error::shape(
                "segments of an optimizer's step",
                self.len,
                before,
            )),
        }
    }
}
