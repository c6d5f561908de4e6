//! [`PoolRows`] on the CPU: threads share out sequences; a mean is summed in `f64`.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::parallel::{Lane, for_lanes};
use crate::cpu::run::{Context, Run};
use crate::error::{Error, Result};
use crate::ops::{PoolKind, PoolRows};

impl Run for PoolRows {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        let batch = self.packing.batch();
        if accesses.rows_reached(self.sorted_of, batch)? > batch {
            return Err(Error::State(
                "pooling needs the sorted index of each sequence",
            ));
        }
        accesses.read(self.source, elements(&[self.packing.tokens(), self.width]))?;
        accesses.write(self.target, elements(&[batch, self.width]))?;
        accesses.write_optional(self.winners, elements(&[batch, self.width]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let (batch, width) = (self.packing.batch(), self.width);
        let sorted_of = context.words(self.sorted_of, batch);
        let source = context.memory.part(self.source)?;
        let parts = [
            Extent::new(self.target, batch * width),
            Extent::optional(self.winners, batch * width, self.target),
        ];
        context.memory.write_parts(parts, |[target, winners]| {
            let lanes = [Lane::new(target, width), Lane::new(winners, width)];
            let cost = self.packing.tokens() * width / batch;
            for_lanes(lanes, batch, cost, &|sequence, [target, winners]| {
                let sorted = sorted_of[sequence] as usize;
                let rows = Rows {
                    pool: self,
                    sorted,
                    source: &source,
                };
                match self.kind {
                    PoolKind::Mean => rows.mean(target),
                    PoolKind::Max => rows.max(target, winners),
                }
            });
        })
    }
}

/// The rows of one sequence.
#[derive(Debug)]
struct Rows<'a> {
    pool: &'a PoolRows,
    sorted: usize,
    source: &'a [f32],
}

impl Rows<'_> {
    fn length(&self) -> usize {
        self.pool.packing.lengths()[self.sorted]
    }

    fn value(&self, step: usize, column: usize) -> f32 {
        let row = self.pool.packing.row(step, self.sorted);
        self.source[row * self.pool.width + column]
    }

    fn mean(&self, target: &mut [f32]) {
        // Never divided by zero: without steps the sum is 0.
        let length = self.length().max(1) as f64;
        for (column, target) in target.iter_mut().enumerate() {
            let values = (0..self.length()).map(|step| f64::from(self.value(step, column)));
            *target = (values.sum::<f64>() / length) as f32;
        }
    }

    fn max(&self, target: &mut [f32], winners: &mut [f32]) {
        target.fill(0.0);
        winners.fill(0.0);
        for step in 0..self.length() {
            let pairs = target.iter_mut().zip(winners.iter_mut());
            for (column, (best, winner)) in pairs.enumerate() {
                let value = self.value(step, column);
                let wins = (value > *best || value.is_nan()) && !best.is_nan();
                if step == 0 || wins {
                    (*best, *winner) = (value, step as f32);
                }
            }
        }
    }
}
