//! [`OptimizerControl`] on the CPU.

use crate::cpu::access::Accesses;
use crate::cpu::memory::Extent;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::{COUNTER_CARRY, GradientNorm, NORM_SCALE, OptimizerControl, StepSettings};

impl Run for OptimizerControl {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.norm, GradientNorm::TARGET_LEN)?;
        accesses.read(self.settings, StepSettings::LEN)?;
        accesses.write(self.counters, Self::COUNTERS_LEN)?;
        accesses.write(self.control, Self::CONTROL_LEN)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let mut norm = [0.0; GradientNorm::TARGET_LEN];
        norm.copy_from_slice(&context.memory.part(self.norm)?[..GradientNorm::TARGET_LEN]);
        let mut settings = [0.0; StepSettings::LEN];
        settings.copy_from_slice(&context.memory.part(self.settings)?[..StepSettings::LEN]);
        let settings = StepSettings::from_elements(settings);
        let parts = [
            Extent::new(self.counters, Self::COUNTERS_LEN),
            Extent::new(self.control, Self::CONTROL_LEN),
        ];
        context.memory.write_parts(parts, |[counters, control]| {
            let not_finite = norm[2];
            let taken = count_step(counters, not_finite == 0.0, settings.halts > 0.0);
            let steps = f64::from(counters[1]) * f64::from(COUNTER_CARRY) + f64::from(counters[0]);
            let correction = |logarithm: f32| -(steps * f64::from(logarithm)).exp_m1();
            let (length, factors) = clipping(norm, &settings);
            control.copy_from_slice(&[
                f32::from(u8::from(taken)),
                factors[0],
                factors[1],
                correction(settings.momentum_logarithm) as f32,
                correction(settings.decay_logarithm).sqrt() as f32,
                length.min(f64::from(f32::MAX)) as f32,
                not_finite,
            ]);
        })
    }
}

/// Counts a step as taken or left out; which of them.
fn count_step(counters: &mut [f32], finite: bool, halts: bool) -> bool {
    let halted = counters[4] > 0.0;
    let taken = finite && !halted;
    if !halted {
        let counter = &mut counters[if taken { 0..2 } else { 2..4 }];
        counter[0] += 1.0;
        if counter[0] >= COUNTER_CARRY {
            counter.copy_from_slice(&[0.0, counter[1] + 1.0]);
        }
        if !taken && halts {
            counters[4] = 1.0;
        }
    }
    taken
}

/// The norm of the scaled gradients, and the two factors that they are multiplied by.
fn clipping(norm: [f32; 3], settings: &StepSettings) -> (f64, [f32; 2]) {
    // The norm in units of which its square fits `f32`: 1, or 2^80.
    let (unit, square) = match norm[0].is_finite() {
        true => (1.0, norm[0]),
        false => (NORM_SCALE, norm[1]),
    };
    let (unit_factor, unit) = (unit, f64::from(unit));
    let (scale, largest) = (
        f64::from(settings.gradient_scale),
        f64::from(settings.largest_norm),
    );
    let length = f64::from(square).sqrt() * scale;
    let bounded = length + 1e-6 * unit;
    let factors = match largest > 0.0 && largest * unit < bounded {
        true => [unit_factor, (scale * (largest / bounded)) as f32],
        false => [1.0, settings.gradient_scale],
    };
    (length / unit, factors)
}
