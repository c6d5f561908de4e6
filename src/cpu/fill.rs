//! [`Fill`] on the CPU.

use crate::cpu::access::Accesses;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::Fill;

impl Run for Fill {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.replace(self.target, self.len)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let mut target = context.memory.write(self.target.buffer)?;
        target[self.target.offset..][..self.len].fill(self.value);
        Ok(())
    }
}
