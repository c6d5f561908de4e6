//! [`Elementwise`] on the CPU.

use crate::cpu::access::Accesses;
use crate::cpu::parallel::for_pieces;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::{Elementwise, ElementwiseKind};

impl Run for Elementwise {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.a, self.len)?;
        if self.kind == ElementwiseKind::Multiply {
            accesses.read(self.b, self.len)?;
        }
        match self.kind {
            ElementwiseKind::Accumulate => accesses.write(self.target, self.len),
            _ => accesses.replace(self.target, self.len),
        }
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let a = context.memory.part(self.a)?;
        let a = &a[..self.len];
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..self.len];
        match self.kind {
            ElementwiseKind::Copy => target.copy_from_slice(a),
            ElementwiseKind::Accumulate => for_pieces(target, |start, target| {
                for (target, a) in target.iter_mut().zip(&a[start..]) {
                    *target += a;
                }
            }),
            ElementwiseKind::Multiply => {
                let b = context.memory.part(self.b)?;
                let b = &b[..self.len];
                for_pieces(target, |start, target| {
                    for ((target, a), b) in target.iter_mut().zip(&a[start..]).zip(&b[start..]) {
                        *target = a * b;
                    }
                });
            }
        }
        Ok(())
    }
}
