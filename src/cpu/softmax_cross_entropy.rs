//! [`SoftmaxCrossEntropy`] on the CPU: threads share out rows; sums in `f64`.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::number::whole_below;
use crate::cpu::parallel::{Lane, for_lanes, tree_sum};
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::SoftmaxCrossEntropy;

impl Run for SoftmaxCrossEntropy {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        let len = elements(&[self.rows, self.classes]);
        accesses.read(self.logits, len)?;
        accesses.read(self.target, self.rows)?;
        accesses.read_optional(self.weights, self.rows)?;
        accesses.read_optional(self.class_weights, self.classes)?;
        accesses.write(self.gradient, len)?;
        accesses.write(self.loss, 1)
    }

    /// The loss of each row.
    fn scratch(&self) -> usize {
        self.rows
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let (rows, classes) = (self.rows, self.classes);
        let logits = context.memory.part(self.logits)?;
        let target = context.memory.part(self.target)?;
        let weights = context.memory.optional(self.weights)?;
        let class_weights = context.memory.optional(self.class_weights)?;
        let inputs = Inputs {
            op: self,
            target: &target,
            weights: weights.as_deref(),
            class_weights: class_weights.as_deref(),
        };
        let total = tree_sum(0, rows, &|row| inputs.share(row));
        let factor = if total > 0.0 { 1.0 / total } else { 0.0 };
        let losses = &mut context.scratch[..rows];
        let parts = [
            Extent::new(self.gradient, rows * classes),
            Extent::new(self.loss, 1),
        ];
        context.memory.write_parts(parts, |[gradient, loss]| {
            let lanes = [Lane::new(gradient, classes), Lane::new(losses, 1)];
            for_lanes(lanes, rows, 32 * classes, &|row, [gradient, loss]| {
                let logits = &logits[row * classes..][..classes];
                loss[0] = inputs.row(row, factor, logits, gradient) as f32;
            });
            loss[0] = tree_sum(0, rows, &|row| f64::from(losses[row])) as f32;
        })
    }
}

/// What is known of the rows but their logits.
#[derive(Debug)]
struct Inputs<'a> {
    op: &'a SoftmaxCrossEntropy,
    target: &'a [f32],
    weights: Option<&'a [f32]>,
    class_weights: Option<&'a [f32]>,
}

impl Inputs<'_> {
    fn class(&self, row: usize) -> Option<usize> {
        whole_below(self.target[row], self.op.classes)
    }

    /// The weight of a row, 0 for one whose class is none.
    fn weight(&self, row: usize) -> f64 {
        match self.class(row) {
            Some(_) => self.weights.map_or(1.0, |weights| weights[row].into()),
            None => 0.0,
        }
    }

    fn class_weight(&self, class: usize) -> f64 {
        (self.class_weights).map_or(1.0, |weights| weights[class].into())
    }

    /// What a row adds to the sum of weights.
    fn share(&self, row: usize) -> f64 {
        let class = self.class(row);
        class.map_or(0.0, |class| self.weight(row) * self.class_weight(class))
    }

    /// Writes the gradient of a row and returns its part of the loss.
    fn row(&self, row: usize, factor: f64, logits: &[f32], gradient: &mut [f32]) -> f64 {
        let share = factor * self.weight(row);
        if share == 0.0 {
            gradient.fill(0.0);
            return 0.0;
        }
        let (class, smoothing) = (self.class(row), f64::from(self.op.smoothing));
        let wanted = |k: usize| {
            let own = if class == Some(k) {
                1.0 - smoothing
            } else {
                0.0
            };
            self.class_weight(k) * (own + smoothing / self.op.classes as f64)
        };
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        let shifted = |k: usize| f64::from(logits[k]) - f64::from(largest);
        let (mut exponentials, mut all_wanted, mut loss) = (0.0, 0.0, 0.0);
        for k in 0..logits.len() {
            exponentials += shifted(k).exp();
            all_wanted += wanted(k);
        }
        let logarithm = exponentials.ln();
        for (k, gradient) in gradient.iter_mut().enumerate() {
            let q = wanted(k);
            *gradient = (share * (all_wanted * shifted(k).exp() / exponentials - q)) as f32;
            // A class that is not wanted may be infinitely far.
            if q != 0.0 {
                loss += q * (logarithm - shifted(k));
            }
        }
        share * loss
    }
}
