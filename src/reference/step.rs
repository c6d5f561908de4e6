//! One step of one sequence in one layer and direction.
//!
//! `input side = norm(W_ih x) + b_ih` and `recurrent side = norm(W_hh u) + b_hh`, where `u` is the state with recurrent
//! dropout; then the cell; then zoneout. With per-gate normalisation the cell adds the biases, after its own norms. The
//! reset-before GRU's candidate rows of `W_hh` are not multiplied here but in the cell.

use super::elman::ElmanStep;
use super::float::{Float, store, stored};
use super::gru::GruStep;
use super::layer::{Layer, Position, Sides, Values};
use super::linear::{add, add_outer, multiply, multiply_transposed, scale};
use super::lstm::LstmStep;
use super::norm::Normalised;
use crate::cell::{Dual, mix, pullback};
use crate::config::{Cell, GruReset, Mode};
use crate::params::ParameterKind;
use crate::random::{RandomPurpose, RandomSite, uniform};

/// What the backward needs of a step.
#[derive(Debug, Clone)]
pub(super) struct Step<T> {
    pub(super) position: Position,
    before: Values<T>,
    /// The state that enters the recurrent products.
    u: Vec<T>,
    /// With whole-row normalisation: of the input's and of the recurrent products.
    norms: Option<[Normalised<T>; 2]>,
    cell: CellStep<T>,
}

/// The part of a [`Step`] between the state before it and the one after it.
#[derive(Debug)]
struct Inside<T> {
    norms: Option<[Normalised<T>; 2]>,
    cell: CellStep<T>,
}

#[derive(Debug, Clone)]
enum CellStep<T> {
    Elman(ElmanStep<T>),
    Lstm(Box<LstmStep<T>>),
    Gru(GruStep<T>),
}

impl<T: Float> Layer<'_, T> {
    /// The step from the state `before` to the next.
    pub(super) fn step(
        &self,
        x: &[T],
        before: Values<T>,
        mask: Option<&[T]>,
        position: Position,
    ) -> (Step<T>, Values<T>) {
        let mut u = before.h.clone();
        if let Some(mask) = mask {
            scale(&mut u, mask);
        }
        let (inside, new) = self.inside(x, &before, &u);
        let after = self.zoneout(&before, &new, position);
        // The backward starts from the states as they were stored; gates that it computes anew, it computes from those.
        let kept = before.stored();
        let kept_u = match mask {
            Some(_) => stored(&u),
            None => kept.h.clone(),
        };
        let Inside { norms, cell } = match kept == before && kept_u == u {
            true => inside,
            false => self.inside(x, &kept, &kept_u).0,
        };
        let step = Step {
            position,
            before: kept,
            u: kept_u,
            norms,
            cell,
        };
        (step, after)
    }

    /// From what enters a step to the state after it, without zoneout.
    fn inside(&self, x: &[T], before: &Values<T>, u: &[T]) -> (Inside<T>, Values<T>) {
        let (sides, norms) = self.sides(x, u);
        let (cell, new) = match self.spec().cell {
            Cell::Elman => {
                let (cell, new) = self.elman(&sides);
                (CellStep::Elman(cell), new)
            }
            Cell::Lstm => {
                let (cell, new) = self.lstm(&sides, before);
                (CellStep::Lstm(Box::new(cell)), new)
            }
            Cell::Gru => {
                let (cell, new) = self.gru(&sides, before, u);
                (CellStep::Gru(cell), new)
            }
        };
        (Inside { norms, cell }, new)
    }

    fn sides(&self, x: &[T], u: &[T]) -> (Sides<T>, Option<[Normalised<T>; 2]>) {
        use ParameterKind as Kind;
        let mut input = multiply(self.parameter(Kind::WeightInput), x);
        let weights = &self.parameter(Kind::WeightRecurrent)[..self.recurrent_rows() * u.len()];
        let mut recurrent = multiply(weights, u);
        recurrent.resize(input.len(), T::zero());
        let norms = self.whole_norm_epsilon().map(|epsilon| {
            store(&mut input);
            store(&mut recurrent);
            let norms = [
                Normalised::new(&input, epsilon),
                Normalised::new(&recurrent, epsilon),
            ];
            input = norms[0].scaled(self.parameter(Kind::NormInput));
            recurrent = norms[1].scaled(self.parameter(Kind::NormRecurrent));
            norms
        });
        if !self.spec().is_per_gate_norm() {
            add(&mut input, self.parameter(Kind::BiasInput));
            add(&mut recurrent, self.parameter(Kind::BiasRecurrent));
        }
        store(&mut input);
        (Sides { input, recurrent }, norms)
    }

    /// The gradients of a step's input and of the state before it, from that of the state after it. Those of the
    /// parameters are added to `d_parameters`.
    pub(super) fn step_backward(
        &self,
        (step, x, mask): (&Step<T>, &[T], Option<&[T]>),
        d_after: Values<T>,
        d_parameters: &mut [T],
    ) -> (Vec<T>, Values<T>) {
        let (mut d_before, d_new) = self.zoneout_backward(&d_after, step.position);
        let d_cell = match &step.cell {
            CellStep::Elman(cell) => self.elman_backward(cell, &d_new),
            CellStep::Lstm(cell) => self.lstm_backward(cell, &step.before, d_new, d_parameters),
            CellStep::Gru(cell) => {
                self.gru_backward(cell, (&step.before, &step.u), &d_new, d_parameters)
            }
        };
        let (d_x, mut d_u) = self.sides_backward((step, x), d_cell.sides, d_parameters);
        add(&mut d_u, &d_cell.u);
        if let Some(mask) = mask {
            scale(&mut d_u, mask);
        }
        add(&mut d_before.h, &d_u);
        add(&mut d_before.h, &d_cell.before.h);
        add(&mut d_before.c, &d_cell.before.c);
        (d_x, d_before)
    }

    fn sides_backward(
        &self,
        (step, x): (&Step<T>, &[T]),
        d_sides: Sides<T>,
        d_parameters: &mut [T],
    ) -> (Vec<T>, Vec<T>) {
        use ParameterKind as Kind;
        let Sides {
            mut input,
            mut recurrent,
        } = d_sides;
        if !self.spec().is_per_gate_norm() {
            add(&mut d_parameters[self.place(Kind::BiasInput)], &input);
            add(
                &mut d_parameters[self.place(Kind::BiasRecurrent)],
                &recurrent,
            );
        }
        if let Some(norms) = &step.norms {
            for (d, norm, kind) in [
                (&mut input, &norms[0], Kind::NormInput),
                (&mut recurrent, &norms[1], Kind::NormRecurrent),
            ] {
                let d_scale = &mut d_parameters[self.place(kind)];
                *d = norm.backward(self.parameter(kind), d, d_scale);
            }
            store(&mut recurrent);
        }
        recurrent.truncate(self.recurrent_rows());
        add_outer(&mut d_parameters[self.place(Kind::WeightInput)], &input, x);
        let d_weights = &mut d_parameters[self.place(Kind::WeightRecurrent)];
        add_outer(d_weights, &recurrent, &step.u);
        let back = |kind, d: &[T], columns| multiply_transposed(self.parameter(kind), d, columns);
        (
            back(Kind::WeightInput, &input, x.len()),
            back(Kind::WeightRecurrent, &recurrent, step.u.len()),
        )
    }

    /// Rows of `W_hh` that are multiplied with the state itself.
    fn recurrent_rows(&self) -> usize {
        let spec = self.spec();
        let gates = match (spec.cell, spec.reset) {
            (Cell::Gru, GruReset::Before) => 2,
            _ => spec.gates(),
        };
        gates * self.config.hidden_size()
    }

    fn whole_norm_epsilon(&self) -> Option<f64> {
        let norm = self.spec().layer_norm?;
        self.spec().is_whole_norm().then_some(norm.epsilon)
    }

    /// How much of the old state a unit keeps: the probability in evaluation, a draw of 0 or 1 in training.
    fn kept(&self, purpose: RandomPurpose, position: Position, unit: usize) -> f32 {
        let zoneout = self.spec().zoneout;
        let probability = match purpose {
            RandomPurpose::ZoneoutCell => zoneout.cell,
            _ => zoneout.hidden,
        };
        if self.drawing.mode == Mode::Evaluation || probability == 0.0 {
            return probability;
        }
        let site = RandomSite {
            layer: self.drawing.site(self.layer),
            direction: self.direction as u32,
            purpose,
        };
        let Position { sequence, step, .. } = position;
        let drawn = uniform(self.drawing.seed, site, sequence, step, unit as u32);
        if drawn < probability { 1.0 } else { 0.0 }
    }

    fn zoneout(&self, old: &Values<T>, new: &Values<T>, position: Position) -> Values<T> {
        let blend = |purpose, old: &[T], new: &[T]| {
            let units = old.iter().zip(new).enumerate();
            let blend = |(unit, (&old, &new))| {
                let kept = T::from_f64(self.kept(purpose, position, unit).into());
                mix(kept, old, new)
            };
            units.map(blend).collect()
        };
        Values {
            h: blend(RandomPurpose::ZoneoutHidden, &old.h, &new.h),
            c: blend(RandomPurpose::ZoneoutCell, &old.c, &new.c),
        }
    }

    /// The gradients of the old and of the new state. Zoneout is linear, so they do not depend on the states.
    fn zoneout_backward(&self, d: &Values<T>, position: Position) -> (Values<T>, Values<T>) {
        let split = |purpose, d: &[T]| -> (Vec<T>, Vec<T>) {
            let units = d.iter().enumerate().map(|(unit, &d)| {
                let kept = Dual::fixed(T::from_f64(self.kept(purpose, position, unit).into()));
                let states = [T::zero(); 2];
                let (_, [old, new]) = pullback(|[old, new]| [mix(kept, old, new)], states, [d]);
                (old, new)
            });
            units.unzip()
        };
        let (old_h, new_h) = split(RandomPurpose::ZoneoutHidden, &d.h);
        let (old_c, new_c) = split(RandomPurpose::ZoneoutCell, &d.c);
        (Values { h: old_h, c: old_c }, Values { h: new_h, c: new_c })
    }
}
