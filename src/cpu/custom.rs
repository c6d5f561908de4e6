//! [`CustomOperation`] on the CPU: lends the kernel its slices.

use std::array;

use crate::cpu::access::Accesses;
use crate::cpu::memory::{Extent, Part};
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::{CustomOperation, MOST_OPERANDS};

impl Run for CustomOperation {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        for operand in &self.reads {
            accesses.read(operand.region, operand.len)?;
        }
        for operand in &self.writes {
            accesses.replace(operand.region, operand.len)?;
        }
        for operand in &self.updates {
            accesses.write(operand.region, operand.len)?;
        }
        self.validate()
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        // Nothing is allocated in a run, so there is room for the most.
        let mut parts: [Option<Part<'_>>; MOST_OPERANDS] = array::from_fn(|_| None);
        for (part, operand) in parts.iter_mut().zip(&self.reads) {
            *part = Some(context.memory.part(operand.region)?);
        }
        let mut reads = [&[][..]; MOST_OPERANDS];
        for ((read, part), operand) in reads.iter_mut().zip(&parts).zip(&self.reads) {
            *read = part.as_deref().map_or(&[], |part| &part[..operand.len]);
        }
        let mut written = self.written();
        let Some(first) = self.written().next() else {
            return Ok(());
        };
        let extents: [Extent; MOST_OPERANDS] = array::from_fn(|_| match written.next() {
            Some(operand) => Extent::new(operand.region, operand.len),
            None => Extent::new(first.region, 0),
        });
        let (reads, count) = (&reads[..self.reads.len()], self.written().count());
        context.memory.write_parts(extents, |mut writes| {
            self.kernel.compute(reads, &mut writes[..count]);
        })
    }
}
