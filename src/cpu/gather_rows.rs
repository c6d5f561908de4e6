//! [`GatherRows`] on the CPU.

use crate::cpu::access::{Accesses, strided};
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::{Error, Result};
use crate::ops::GatherRows;

impl Run for GatherRows {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        if self.target_stride < self.width {
            return Err(Error::State("gathered rows overlap in their target"));
        }
        let source_rows = accesses.rows_reached(self.table, self.rows)?;
        accesses.read(
            self.source,
            strided(source_rows, self.source_stride, self.width),
        )?;
        let written = strided(self.rows, self.target_stride, self.width);
        match self.target_stride == self.width {
            true => accesses.replace(self.target, written),
            false => accesses.write(self.target, written),
        }
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let rows = context.words(self.table, self.rows);
        let source = context.memory.part(self.source)?;
        let mut target = context.memory.write(self.target.buffer)?;
        let len = strided(self.rows, self.target_stride, self.width);
        let target = &mut target[self.target.offset..][..len];
        for_rows(target, self.target_stride, 1, |row, target| {
            let from = rows[row] as usize * self.source_stride;
            target[..self.width].copy_from_slice(&source[from..from + self.width]);
        });
        Ok(())
    }
}
