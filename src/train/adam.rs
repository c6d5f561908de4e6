//! Adam with clipping by the global norm.
//!
//! Parameters, gradients and moments stay on the device. The host contributes eight numbers to a step (the learning rate,
//! the bias corrections, the largest norm), so a step costs one small write and no read.

use crate::error::{Error, Result};
use crate::ops::{Adam, BufferId, Program, Region, Role, Section, SquaredNorm};

/// Elements of the `settings` buffer of [`Adam`].
const SETTINGS: usize = 8;

/// Adam's constants; the defaults are PyTorch's, without clipping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Gradients whose norm over all parameters is larger are scaled down to this norm.
    pub max_norm: Option<f64>,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_norm: None,
        }
    }
}

impl AdamOptions {
    fn check(&self) -> Result<()> {
        let decays = [("beta1", self.beta1), ("beta2", self.beta2)];
        for (option, decay) in decays {
            if !(0.0..1.0).contains(&decay) {
                let reason = format!("must be at least 0 and less than 1, is {decay}");
                return Err(Error::option(option, reason));
            }
        }
        let max_norm = self.max_norm.unwrap_or(1.0);
        for (option, value, zero_is_good) in [
            ("learning_rate", self.learning_rate, true),
            ("epsilon", self.epsilon, true),
            ("max_norm", max_norm, false),
        ] {
            let good = value.is_finite() && (value > 0.0 || (zero_is_good && value == 0.0));
            if !good {
                let reason = format!("must be a finite positive number, is {value}");
                return Err(Error::option(option, reason));
            }
        }
        Ok(())
    }
}

/// Counts steps and computes what the host writes before each.
///
/// ```
/// use wgpu_rnn::train::{AdamOptions, AdamSteps};
/// let mut steps = AdamSteps::new(AdamOptions::default())?;
/// let first = steps.next_settings();
/// assert_eq!(first[0], 1e-3);
/// assert!((first[4] - 0.1).abs() < 1e-7); // 1 - beta1^1
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdamSteps {
    options: AdamOptions,
    step: u64,
}

impl AdamSteps {
    /// Before the first step.
    ///
    /// # Errors
    /// [`Error::Option`] names the constant that is out of its range.
    pub fn new(options: AdamOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options, step: 0 })
    }

    /// Steps counted so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The step size of the steps that follow, for a schedule.
    ///
    /// # Errors
    /// [`Error::Option`] if it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let options = AdamOptions {
            learning_rate,
            ..self.options
        };
        options.check()?;
        self.options = options;
        Ok(())
    }

    /// Counts a step and returns its settings, in the order that [`Adam`] documents. The bias corrections are computed in
    /// double precision: in single precision `1 - b2^t` loses three digits at the first steps.
    pub fn next_settings(&mut self) -> [f32; SETTINGS] {
        self.step += 1;
        let AdamOptions {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            max_norm,
        } = self.options;
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        [
            learning_rate,
            beta1,
            beta2,
            epsilon,
            correction(beta1),
            correction(beta2).sqrt(),
            max_norm.unwrap_or(0.0),
            0.0,
        ]
        .map(|value| value as f32)
    }
}

/// Adam's place in a [`Program`]: pushes the [`Section::Update`] that takes one step.
///
/// Before each run of the section write [`AdamSteps::next_settings`] to [`settings`](Self::settings).
#[derive(Debug, Clone, Copy)]
pub struct AdamOptimizer {
    /// Eight elements, written by the host.
    pub settings: BufferId,
    /// One element: the squared norm of the gradients before clipping, readable after a step.
    pub squared_norm: BufferId,
}

impl AdamOptimizer {
    /// Pushes the norm and the step. `parameters` and `gradients` hold `len` elements, `moments` twice as many (zeros at first);
    /// all lie in different buffers.
    pub fn push(
        program: &mut Program,
        len: usize,
        parameters: Region,
        gradients: Region,
        moments: Region,
    ) -> Self {
        let optimizer = Self {
            settings: program.buffer("adam settings", SETTINGS, Role::Input),
            squared_norm: program.buffer("squared norm", 1, Role::Output),
        };
        let norm = SquaredNorm {
            values: gradients,
            target: optimizer.squared_norm.into(),
            len,
        };
        program.push(Section::Update, norm);
        let step = Adam {
            parameters,
            gradients,
            moments,
            squared_norm: optimizer.squared_norm.into(),
            settings: optimizer.settings.into(),
            len,
        };
        program.push(Section::Update, step);
        optimizer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuDevice;
    use crate::device::Device;

    const LEN: usize = 5;

    /// The published algorithm in double precision, step by step, against the device's.
    #[test]
    fn three_steps_as_published() {
        let options = AdamOptions {
            learning_rate: 0.1,
            max_norm: Some(1.0),
            ..AdamOptions::default()
        };
        let mut program = Program::new();
        let mut buffer = |label, len| program.buffer(label, len, Role::Input);
        let (parameters, gradients) = (buffer("parameters", LEN), buffer("gradients", LEN));
        let moments = buffer("moments", 2 * LEN);
        let regions = [parameters, gradients, moments].map(Region::from);
        let optimizer = AdamOptimizer::push(&mut program, LEN, regions[0], regions[1], regions[2]);
        let mut plan = CpuDevice::new().unwrap().load(program, &[]).unwrap();
        let mut p = [1.0f64, -2.0, 3.0, 0.0, 0.5];
        plan.write(parameters, &p.map(|v| v as f32)).unwrap();
        let (mut m, mut v) = ([0.0f64; LEN], [0.0f64; LEN]);
        let mut steps = AdamSteps::new(options).unwrap();
        for step in 1..=3 {
            // The first two exceed the largest norm, the last does not.
            let scale = [4.0f64, 1.0, 0.1][step - 1];
            let mut g = [1.0f64, -0.5, 2.0, 0.0, -1.5].map(|g| g * scale);
            plan.write(gradients, &g.map(|g| g as f32)).unwrap();
            plan.write(optimizer.settings, &steps.next_settings())
                .unwrap();
            plan.run(Section::Update).unwrap();
            let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
            g = g.map(|g| g * (1.0 / (norm + 1e-6)).min(1.0));
            for i in 0..LEN {
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                let corrected = m[i] / (1.0 - 0.9f64.powi(step as i32));
                let spread = (v[i] / (1.0 - 0.999f64.powi(step as i32))).sqrt();
                p[i] -= 0.1 * corrected / (spread + 1e-8);
            }
            let mut got = [0.0; LEN];
            plan.read(parameters, &mut got).unwrap();
            for i in 0..LEN {
                // A step is at most 0.1 in size and takes about 20 roundings; b1 and b2 are rounded to f32, which moves
                // 1 - b2 by 3e-5 of itself and cancels in m / sqrt(v) up to its square root.
                let bound = step as f64 * (0.1 * 3e-5 + 20.0 * 6e-8 * p[i].abs().max(0.1));
                let error = (f64::from(got[i]) - p[i]).abs();
                assert!(error < bound, "step {step}, element {i}: off by {error}");
            }
        }
        assert_eq!(steps.step(), 3);
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        let good = AdamOptions::default();
        for bad in [
            AdamOptions { beta1: 1.0, ..good },
            AdamOptions {
                beta2: -0.1,
                ..good
            },
            AdamOptions {
                epsilon: f64::NAN,
                ..good
            },
            AdamOptions {
                learning_rate: -1.0,
                ..good
            },
            AdamOptions {
                max_norm: Some(0.0),
                ..good
            },
        ] {
            assert!(AdamSteps::new(bad).is_err(), "{bad:?}");
        }
        assert!(AdamSteps::new(good).is_ok_and(|mut s| s.set_learning_rate(-1.0).is_err()));
    }
}
