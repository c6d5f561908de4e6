//! [`PointwiseLoss`] on the CPU: everything in `f64`, rounded where it is stored.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::parallel::{for_pieces, tree_sum};
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::{PointwiseLoss, PointwiseLossKind};

impl Run for PointwiseLoss {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        let len = elements(&[self.rows, self.width]);
        accesses.read(self.prediction, len)?;
        accesses.read(self.target, len)?;
        accesses.read_optional(self.weights, self.rows)?;
        accesses.write(self.gradient, len)?;
        accesses.write(self.loss, 1)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let len = self.rows * self.width;
        let prediction = context.memory.part(self.prediction)?;
        let target = context.memory.part(self.target)?;
        let weights = context.memory.optional(self.weights)?;
        let weights = weights.as_deref();
        let parts = [Extent::new(self.gradient, len), Extent::new(self.loss, 1)];
        let weight = |row: usize| weights.map_or(1.0, |weights| f64::from(weights[row]));
        context.memory.write_parts(parts, |[gradient, loss]| {
            let total = match weights {
                None => len as f64,
                Some(_) => self.width as f64 * tree_sum(0, self.rows, &weight),
            };
            let share = if total > 0.0 { 1.0 / total } else { 0.0 };
            // The loss and its derivative, both with their share; what a masked row holds may be anything.
            let element = |index: usize| match weight(index / self.width) {
                0.0 => (0.0, 0.0),
                weight => {
                    let pair = [prediction[index], target[index]].map(f64::from);
                    let (loss, d) = loss_of(self.kind, pair);
                    (share * weight * loss, share * weight * d)
                }
            };
            for_pieces(gradient, |start, gradient| {
                for (index, gradient) in gradient.iter_mut().enumerate() {
                    *gradient = element(start + index).1 as f32;
                }
            });
            loss[0] = tree_sum(0, len, &|index| element(index).0) as f32;
        })
    }
}

/// The loss of a prediction and a target, and its derivative by the prediction.
fn loss_of(kind: PointwiseLossKind, [x, y]: [f64; 2]) -> (f64, f64) {
    let difference = x - y;
    let distance = difference.abs();
    match kind {
        PointwiseLossKind::Squared => (difference * difference, 2.0 * difference),
        PointwiseLossKind::Absolute if difference == 0.0 => (0.0, 0.0),
        PointwiseLossKind::Absolute => (distance, difference.signum()),
        PointwiseLossKind::Huber { delta } => {
            let delta = f64::from(delta);
            let loss = match distance < delta {
                true => 0.5 * difference * difference,
                false => delta * (distance - 0.5 * delta),
            };
            (loss, difference.clamp(-delta, delta))
        }
        PointwiseLossKind::BinaryCrossEntropy { positive_weight } => {
            let e = (-x.abs()).exp();
            let rest = e.ln_1p();
            let (near, far) = (1.0 / (1.0 + e), e / (1.0 + e));
            let (high, low) = if x >= 0.0 { (near, far) } else { (far, near) };
            let (positive, negative) = (f64::from(positive_weight) * y, 1.0 - y);
            (
                negative * (x.max(0.0) + rest) + positive * ((-x).max(0.0) + rest),
                negative * high - positive * low,
            )
        }
    }
}
