//! An optimizer's state on the host: what a checkpoint holds, and what a step came to.

use serde::{Deserialize, Serialize};

use super::optimizer::Optimizer;
use crate::device::{Device, DeviceBuffer};
use crate::error::{Error, Result};
use crate::ops::{COUNTER_CARRY, OptimizerControl, UpdateRule};

/// Everything that an optimizer remembers, apart from its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimizerState {
    /// What kind of step it belongs to.
    pub update: UpdateRule,
    /// Number of parameters.
    pub parameters: usize,
    /// The state buffer's elements: see [`Optimizer::state_len`].
    pub values: Vec<f32>,
}

impl OptimizerState {
    /// The counters.
    ///
    /// # Errors
    /// [`Error::Shape`] if the values are too few to hold any.
    pub fn counts(&self) -> Result<StepCounts> {
        StepCounts::from_elements(&self.values)
    }
}

/// How many steps were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StepCounts {
    /// Steps taken.
    pub steps: u64,
    /// Steps left out because a gradient was not finite.
    pub left_out: u64,
    /// Whether one of these stopped the optimizer: see [`NonFinite::Halt`](super::NonFinite::Halt).
    pub halted: bool,
}

impl StepCounts {
    /// From the first elements of a state buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are too few of them or if they are no counters.
    pub fn from_elements(elements: &[f32]) -> Result<Self> {
        let Some(&[steps, more_steps, left_out, more_left_out, halted]) =
            elements.first_chunk::<{ OptimizerControl::COUNTERS_LEN }>()
        else {
            return Err(Error::shape(
                "optimizer state",
                format!("at least {} elements", OptimizerControl::COUNTERS_LEN),
                elements.len(),
            ));
        };
        let count = |low: f32, high: f32| {
            let good = |word: f32| (0.0..=COUNTER_CARRY).contains(&word) && word.fract() == 0.0;
            if !(good(low) && good(high)) {
                return Err(Error::shape(
                    "counters of an optimizer state",
                    format!("whole numbers from 0 to {COUNTER_CARRY}"),
                    format!("{low} and {high}"),
                ));
            }
            Ok(high as u64 * COUNTER_CARRY as u64 + low as u64)
        };
        Ok(Self {
            steps: count(steps, more_steps)?,
            left_out: count(left_out, more_left_out)?,
            halted: halted > 0.0,
        })
    }

    /// Whether training can go on.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the optimizer has halted.
    pub fn check(&self) -> Result<()> {
        match self.halted {
            true => Err(Error::NonFinite {
                step: self.steps + 1,
            }),
            false => Ok(()),
        }
    }
}

/// What the last step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Whether it was taken.
    pub taken: bool,
    /// Norm of all finite gradients, scaled, before clipping; at most the largest `f32`.
    pub norm: f32,
    /// How many gradients were infinite or NaN.
    pub non_finite: f32,
}

impl StepReport {
    /// Elements of the buffer that it is read from, [`OptimizerBuffers::control`](super::OptimizerBuffers::control).
    pub const LEN: usize = OptimizerControl::CONTROL_LEN;

    /// From that buffer's elements.
    pub fn from_elements(elements: &[f32; Self::LEN]) -> Self {
        let &[taken, _, _, _, _, norm, non_finite] = elements;
        Self {
            taken: taken > 0.0,
            norm,
            non_finite,
        }
    }
}

impl Optimizer {
    /// A state buffer before the first step.
    ///
    /// # Errors
    /// The device's errors.
    pub fn new_state(&self, device: &dyn Device) -> Result<DeviceBuffer> {
        device.buffer("optimizer state", self.state_len())
    }

    /// The counters in a state buffer, waiting for what was submitted before.
    ///
    /// # Errors
    /// [`Error::Shape`] if the buffer is no state; the device's errors.
    pub fn counts(&self, device: &dyn Device, state: &DeviceBuffer) -> Result<StepCounts> {
        self.check_len(state.len())?;
        StepCounts::from_elements(&device.read(state, 0..OptimizerControl::COUNTERS_LEN)?)
    }

    /// Reads a state buffer.
    ///
    /// # Errors
    /// As [`counts`](Self::counts).
    pub fn save(&self, device: &dyn Device, state: &DeviceBuffer) -> Result<OptimizerState> {
        self.check_len(state.len())?;
        Ok(OptimizerState {
            update: self.update(),
            parameters: self.len(),
            values: device.read(state, 0..self.state_len())?,
        })
    }

    /// Replaces what is in a state buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] if `saved` belongs to another optimizer or to another number of parameters, or if its counters are
    /// none; the device's errors.
    pub fn restore(
        &self,
        device: &dyn Device,
        state: &DeviceBuffer,
        saved: &OptimizerState,
    ) -> Result<()> {
        if saved.update != self.update() {
            let [expected, got] = [self.update(), saved.update].map(|rule| format!("{rule:?}"));
            return Err(Error::shape("optimizer of a saved state", expected, got));
        }
        if saved.parameters != self.len() {
            return Err(Error::shape(
                "parameters of a saved optimizer state",
                self.len(),
                saved.parameters,
            ));
        }
        self.check_len(saved.values.len())?;
        self.check_len(state.len())?;
        saved.counts()?;
        device.write(state, 0, &saved.values)
    }

    fn check_len(&self, len: usize) -> Result<()> {
        match len == self.state_len() {
            true => Ok(()),
            false => Err(Error::shape(
                format!("optimizer state of {} parameters", self.len()),
                format!("{} elements", self.state_len()),
                len,
            )),
        }
    }
}
