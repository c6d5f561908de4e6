//! [`MeanSquaredError`] on the CPU.

use crate::cpu::access::Accesses;
use crate::cpu::memory::Extent;
use crate::cpu::parallel::{for_pieces, tree_sum};
use crate::cpu::plan::{Context, Run};
use crate::error::Result;
use crate::ops::MeanSquaredError;

impl Run for MeanSquaredError {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.prediction, self.len)?;
        accesses.read(self.target, self.len)?;
        accesses.write(self.gradient, self.len)?;
        accesses.write(self.loss, 1)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let prediction = context.memory.part(self.prediction)?;
        let prediction = &prediction[..self.len];
        let target = context.memory.part(self.target)?;
        let target = &target[..self.len];
        let parts = [
            Extent::new(self.gradient, self.len),
            Extent::new(self.loss, 1),
        ];
        context.memory.write_parts(parts, |[gradient, loss]| {
            let factor = 2.0 / self.len as f32;
            for_pieces(gradient, |start, gradient| {
                let pairs = prediction[start..].iter().zip(&target[start..]);
                for (gradient, (p, t)) in gradient.iter_mut().zip(pairs) {
                    *gradient = factor * (p - t);
                }
            });
            let error = |i: usize| f64::from(prediction[i]) - f64::from(target[i]);
            let sum = tree_sum(0, self.len, &|i| error(i).powi(2));
            loss[0] = (sum / self.len as f64) as f32;
        })
    }
}
