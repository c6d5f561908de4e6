//! [`EmbeddingRowsBackward`] on the CPU: threads share out blocks of the table; each adds the rows of its ids in their order.

use crate::cpu::access::{Accesses, elements, strided};
use crate::cpu::number::whole_below;
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::EmbeddingRowsBackward;

/// Blocks of the table at most: each walks all ids.
const BLOCKS: usize = 16;

impl Run for EmbeddingRowsBackward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        let gradient = self.gradient;
        let len = strided(self.rows, gradient.stride, gradient.width);
        accesses.read(gradient.region, len)?;
        accesses.read(self.ids, strided(self.rows, self.ids_stride, 1))?;
        accesses.write(self.target, elements(&[self.entries, gradient.width]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let width = self.gradient.width;
        let ids = context.memory.part(self.ids)?;
        let gradient = context.memory.part(self.gradient.region)?;
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..self.entries * width];
        let block = self.entries.div_ceil(BLOCKS);
        let cost = 1 + self.rows.div_ceil(self.entries);
        for_rows(target, block * width, cost, |number, target| {
            if !self.accumulate {
                target.fill(0.0);
            }
            let entries = number * block..number * block + target.len() / width;
            for row in 0..self.rows {
                let id = whole_below(ids[row * self.ids_stride], entries.end);
                let Some(entry) = id.and_then(|id| id.checked_sub(entries.start)) else {
                    continue;
                };
                let gradient = &gradient[row * self.gradient.stride..][..width];
                for (sum, d) in target[entry * width..].iter_mut().zip(gradient) {
                    *sum += d;
                }
            }
        });
        Ok(())
    }
}
