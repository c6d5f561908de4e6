//! [`SquaredNorm`] on the CPU.

use crate::cpu::access::Accesses;
use crate::cpu::parallel::tree_sum;
use crate::cpu::plan::{Context, Run};
use crate::error::Result;
use crate::ops::SquaredNorm;

impl Run for SquaredNorm {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.values, self.len)?;
        accesses.write(self.target, 1)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let values = context.memory.part(self.values)?;
        let values = &values[..self.len];
        let mut target = context.memory.write(self.target.buffer)?;
        let sum = tree_sum(0, self.len, &|i| f64::from(values[i]).powi(2));
        target[self.target.offset] = sum as f32;
        Ok(())
    }
}
