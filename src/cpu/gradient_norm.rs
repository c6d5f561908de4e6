//! [`GradientNorm`] on the CPU.

use crate::cpu::access::Accesses;
use crate::cpu::parallel::tree_sum;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::{GradientNorm, NORM_SCALE};

impl Run for GradientNorm {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.values, self.len)?;
        accesses.write(self.target, Self::TARGET_LEN)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let values = context.memory.part(self.values)?;
        let values = &values[..self.len];
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..Self::TARGET_LEN];
        // Finite squares add up to a finite sum in double precision: what is not, does not.
        let sum = tree_sum(0, self.len, &|i| f64::from(values[i]).powi(2));
        let finite = |i: usize| match values[i].is_finite() {
            true => f64::from(values[i]).powi(2),
            false => 0.0,
        };
        let (sum, not_finite) = match sum.is_finite() {
            true => (sum, 0.0),
            false => (
                tree_sum(0, self.len, &finite),
                tree_sum(0, self.len, &|i| f64::from(!values[i].is_finite())),
            ),
        };
        target[0] = sum as f32;
        target[1] = (sum * f64::from(NORM_SCALE).powi(2)) as f32;
        target[2] = not_finite as f32;
        Ok(())
    }
}
