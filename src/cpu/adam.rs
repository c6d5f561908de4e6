//! [`Adam`] on the CPU.

use rayon::prelude::*;

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::plan::{Context, Run};
use crate::error::Result;
use crate::ops::Adam;

/// Parameters that a thread updates at a time.
const PIECE: usize = 8 * 1024;

impl Run for Adam {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.gradients, self.len)?;
        accesses.read(self.squared_norm, 1)?;
        accesses.read(self.settings, 8)?;
        accesses.write(self.parameters, self.len)?;
        accesses.write(self.moments, elements(&[2, self.len]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let gradients = context.memory.part(self.gradients)?;
        let gradients = &gradients[..self.len];
        let squared_norm = context.memory.part(self.squared_norm)?[0];
        let mut settings = [0.0; 8];
        settings.copy_from_slice(&context.memory.part(self.settings)?[..8]);
        let rule = Rule::new(settings, squared_norm);
        let parts = [
            Extent::new(self.parameters, self.len),
            Extent::new(self.moments, 2 * self.len),
        ];
        context.memory.write_parts(parts, |[parameters, moments]| {
            let (first, second) = moments.split_at_mut(self.len);
            parameters
                .par_chunks_mut(PIECE)
                .zip(first.par_chunks_mut(PIECE))
                .zip(second.par_chunks_mut(PIECE))
                .zip(gradients.par_chunks(PIECE))
                .for_each(|(((parameters, first), second), gradients)| {
                    let moments = first.iter_mut().zip(second);
                    let values = parameters.iter_mut().zip(moments).zip(gradients);
                    for ((parameter, (m, v)), &gradient) in values {
                        *parameter -= rule.change(gradient, m, v);
                    }
                });
        })
    }
}

/// The settings of one step.
struct Rule {
    rate: f32,
    beta: [f32; 2],
    epsilon: f32,
    /// `sqrt(1 - b2^t)`
    root_correction: f32,
    /// What the global norm leaves of a gradient.
    factor: f32,
}

impl Rule {
    fn new(settings: [f32; 8], squared_norm: f32) -> Self {
        let [
            rate,
            beta1,
            beta2,
            epsilon,
            correction,
            root_correction,
            largest_norm,
            _,
        ] = settings;
        let ratio = largest_norm / (squared_norm.sqrt() + 1e-6);
        let clips = largest_norm > 0.0 && ratio < 1.0;
        Self {
            rate: rate / correction,
            beta: [beta1, beta2],
            epsilon,
            root_correction,
            factor: if clips { ratio } else { 1.0 },
        }
    }

    /// Updates the moments of one parameter; what to subtract from it.
    fn change(&self, gradient: f32, m: &mut f32, v: &mut f32) -> f32 {
        let gradient = gradient * self.factor;
        *m = self.beta[0] * *m + (1.0 - self.beta[0]) * gradient;
        *v = self.beta[1] * *v + (1.0 - self.beta[1]) * gradient * gradient;
        self.rate * *m / (v.sqrt() / self.root_correction + self.epsilon)
    }
}
