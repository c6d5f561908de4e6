//! [`DropoutRows`] on the CPU.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::DropoutRows;
use crate::random::dropout_factor;

impl DropoutRows {
    fn is_in_place(&self) -> bool {
        self.source == Some(self.target)
    }
}

impl Run for DropoutRows {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let len = elements(&[self.rows, self.width]);
        accesses.words(self.sequences, self.rows)?;
        if let Some(steps) = self.steps {
            accesses.words(steps, self.rows)?;
        }
        if self.is_in_place() {
            return accesses.write(self.target, len);
        }
        accesses.read_optional(self.source, len)?;
        accesses.replace(self.target, len)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let sequences = context.words(self.sequences, self.rows);
        let steps = self.steps.map(|steps| context.words(steps, self.rows));
        let other = self.source.filter(|_| !self.is_in_place());
        let source = context.memory.optional(other)?;
        let source = source.as_deref();
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..self.rows * self.width];
        for_rows(target, self.width, 16, |row, target| {
            let step = steps.map_or(0, |steps| steps[row]);
            for (column, target) in target.iter_mut().enumerate() {
                let place = (sequences[row], step, column as u32);
                let factor = dropout_factor(context.seed, self.site, place, self.probability);
                *target = match (source, self.source) {
                    (Some(source), _) => source[row * self.width + column] * factor,
                    (None, Some(_)) => *target * factor,
                    (None, None) => factor,
                };
            }
        });
        Ok(())
    }
}
