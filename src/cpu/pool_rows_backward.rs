//! [`PoolRowsBackward`] on the CPU.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::PoolRowsBackward;

impl Run for PoolRowsBackward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        let pooled = elements(&[self.packing.batch(), self.width]);
        accesses.read(self.gradient, pooled)?;
        accesses.read_optional(self.winners, pooled)?;
        accesses.write(self.target, elements(&[self.packing.tokens(), self.width]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let (packing, width) = (&self.packing, self.width);
        let gradient = context.memory.part(self.gradient)?;
        let winners = context.memory.optional(self.winners)?;
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..packing.tokens() * width];
        for_rows(target, width, 2, |row, target| {
            let step = packing.offsets().partition_point(|&first| first <= row) - 1;
            let sorted = row - packing.offsets()[step];
            let at = packing.order()[sorted] * width;
            let length = packing.lengths()[sorted] as f32;
            for (column, target) in target.iter_mut().enumerate() {
                let d = gradient[at + column];
                *target = match winners.as_deref() {
                    None => d / length,
                    Some(winners) if winners[at + column] == step as f32 => d,
                    Some(_) => 0.0,
                };
            }
        });
        Ok(())
    }
}
