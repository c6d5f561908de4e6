//! [`OptimizerStep`] on the CPU: group by group, pieces of a group on all threads.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::{OptimizerControl, OptimizerStep, StepSettings, UpdateRule};

/// Parameters that a thread updates at a time.
const PIECE: usize = 8 * 1024;

/// Numbers that a rule keeps for a parameter at most.
const SLOTS: usize = 3;

impl Run for OptimizerStep {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let words = self.segments.saturating_mul(2);
        self.check_segments(accesses.words(self.segments_table, words)?)?;
        accesses.read(self.gradients, self.len)?;
        accesses.read(self.control, OptimizerControl::CONTROL_LEN)?;
        accesses.read(self.settings, self.settings_len())?;
        accesses.write(self.parameters, self.len)?;
        accesses.write(self.state, elements(&[self.rule.slots(), self.len]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let mut control = [0.0; OptimizerControl::CONTROL_LEN];
        control
            .copy_from_slice(&context.memory.part(self.control)?[..OptimizerControl::CONTROL_LEN]);
        if control[0] == 0.0 {
            return Ok(());
        }
        let settings = context.memory.part(self.settings)?;
        let step = Step::new(&settings, &control);
        let gradients = context.memory.part(self.gradients)?;
        let parts = [
            Extent::new(self.parameters, self.len),
            Extent::new(self.state, self.rule.slots() * self.len),
        ];
        context.memory.write_parts(parts, |[parameters, state]| {
            let mut start = 0;
            for segment in context
                .words(self.segments_table, 2 * self.segments)
                .chunks_exact(2)
            {
                let end = segment[0] as usize;
                let mut slots = state.chunks_exact_mut(self.len);
                let slots: [&mut [f32]; SLOTS] = std::array::from_fn(|_| {
                    let slot = slots.next();
                    slot.map_or(&mut [][..], |slot| &mut slot[start..end])
                });
                let group = StepSettings::LEN + 2 * segment[1] as usize;
                let part = Part {
                    parameters: &mut parameters[start..end],
                    gradients: &gradients[start..end],
                    slots,
                };
                let step = Step {
                    rate: settings[group],
                    decay: settings[group + 1],
                    ..step
                };
                part.update(self.rule, &step);
                start = end;
            }
        })
    }
}

/// What is the same for all parameters of a group.
#[derive(Debug, Clone, Copy)]
struct Step {
    rate: f32,
    decay: f32,
    settings: StepSettings,
    factors: [f32; 2],
    /// `1 - b1^t`
    correction: f32,
    /// `sqrt(1 - b2^t)`
    root_correction: f32,
}

/// Parameters of a group, with what belongs to them.
struct Part<'a> {
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    slots: [&'a mut [f32]; SLOTS],
}

impl Part<'_> {
    fn update(self, rule: UpdateRule, step: &Step) {
        match rule {
            UpdateRule::Sgd { momentum, nesterov } => match (momentum, nesterov) {
                (false, _) => self.each(|p, g, []: &mut [f32; 0]| step.coupled(p, g, |g| g)),
                (true, false) => {
                    self.each(|p, g, [b]| step.coupled(p, g, |g| step.with_momentum(b, g)));
                }
                (true, true) => self.each(|p, g, [b]| {
                    step.coupled(p, g, |g| {
                        g + step.settings.momentum * step.with_momentum(b, g)
                    });
                }),
            },
            UpdateRule::Adam { decoupled: false } => {
                self.each(|p, g, [m, v]| step.coupled(p, g, |g| step.adam(m, v, g)));
            }
            UpdateRule::Adam { decoupled: true } => self.each(|p, g, [m, v]| {
                *p *= 1.0 - step.rate * step.decay;
                *p -= step.rate * step.adam(m, v, step.clipped(g));
            }),
            UpdateRule::RmsProp { momentum, centered } => match (momentum, centered) {
                (false, false) => {
                    self.each(|p, g, [v]| step.coupled(p, g, |g| step.rms_prop(v, g)));
                }
                (true, false) => self.each(|p, g, [v, b]| {
                    step.coupled(p, g, |g| step.with_momentum(b, step.rms_prop(v, g)));
                }),
                (false, true) => self.each(|p, g, [v, m]| {
                    step.coupled(p, g, |g| step.centered_rms_prop(v, m, g));
                }),
                (true, true) => self.each(|p, g, [v, m, b]| {
                    step.coupled(p, g, |g| {
                        step.with_momentum(b, step.centered_rms_prop(v, m, g))
                    });
                }),
            },
        }
    }

    /// Does `work` with each parameter, its gradient and the first `N` slots.
    fn each<const N: usize>(self, work: impl Fn(&mut f32, f32, &mut [f32; N]) + Sync) {
        self.split(&work);
    }

    fn split<const N: usize>(self, work: &(impl Fn(&mut f32, f32, &mut [f32; N]) + Sync)) {
        let len = self.parameters.len();
        if len <= PIECE {
            return self.walk(work);
        }
        let middle = (len / 2).next_multiple_of(PIECE);
        let (parameters, more_parameters) = self.parameters.split_at_mut(middle);
        let (gradients, more_gradients) = self.gradients.split_at(middle);
        let mut more_slots = <[&mut [f32]; SLOTS]>::default();
        let mut rest = more_slots.iter_mut();
        let slots = self.slots.map(|slot| {
            // An absent slot has no elements.
            let (slot, more) = slot.split_at_mut(middle.min(slot.len()));
            if let Some(rest) = rest.next() {
                *rest = more;
            }
            slot
        });
        let first = Part {
            parameters,
            gradients,
            slots,
        };
        let second = Part {
            parameters: more_parameters,
            gradients: more_gradients,
            slots: more_slots,
        };
        crate::cpu::parallel::join(|| first.split(work), || second.split(work));
    }

    fn walk<const N: usize>(self, work: &impl Fn(&mut f32, f32, &mut [f32; N])) {
        let len = self.parameters.len();
        let gradients = &self.gradients[..len];
        let mut given = self.slots.into_iter();
        let mut slots: [&mut [f32]; N] =
            std::array::from_fn(|_| given.next().map_or(&mut [][..], |slot| &mut slot[..len]));
        for (index, parameter) in self.parameters.iter_mut().enumerate() {
            let mut values = std::array::from_fn(|slot| slots[slot][index]);
            work(parameter, gradients[index], &mut values);
            for (slot, value) in slots.iter_mut().zip(values) {
                slot[index] = value;
            }
        }
    }
}

impl Step {
    fn new(settings: &[f32], control: &[f32]) -> Self {
        let mut elements = [0.0; StepSettings::LEN];
        elements.copy_from_slice(&settings[..StepSettings::LEN]);
        Self {
            rate: 0.0,
            decay: 0.0,
            settings: StepSettings::from_elements(elements),
            factors: [control[1], control[2]],
            correction: control[3],
            root_correction: control[4],
        }
    }

    fn clipped(&self, gradient: f32) -> f32 {
        let gradient = gradient * self.factors[0] * self.factors[1];
        let largest = self.settings.largest_value;
        match largest > 0.0 {
            true => gradient.clamp(-largest, largest),
            false => gradient,
        }
    }

    /// Moves a parameter against a direction that is made of its gradient with the decay.
    fn coupled(&self, p: &mut f32, gradient: f32, direction: impl FnOnce(f32) -> f32) {
        *p -= self.rate * direction(self.clipped(gradient) + self.decay * *p);
    }

    fn with_momentum(&self, b: &mut f32, g: f32) -> f32 {
        *b = self.settings.momentum * *b + g;
        *b
    }

    fn mean_square(&self, v: &mut f32, g: f32) -> f32 {
        *v = self.settings.decay * *v + self.settings.decay_rest * g * g;
        *v
    }

    fn adam(&self, m: &mut f32, v: &mut f32, g: f32) -> f32 {
        *m += self.settings.momentum_rest * (g - *m);
        let root = self.mean_square(v, g).sqrt() / self.root_correction;
        *m / self.correction / (root + self.settings.epsilon)
    }

    fn rms_prop(&self, v: &mut f32, g: f32) -> f32 {
        g / (self.mean_square(v, g).sqrt() + self.settings.epsilon)
    }

    fn centered_rms_prop(&self, v: &mut f32, m: &mut f32, g: f32) -> f32 {
        let square = self.mean_square(v, g);
        *m += self.settings.decay_rest * (g - *m);
        // A variance; rounding may take it below zero.
        g / ((square - *m * *m).max(0.0).sqrt() + self.settings.epsilon)
    }
}
