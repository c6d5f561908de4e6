//! The LSTM cell of a step: peepholes, norms, projection around the pointwise functions.

use super::float::{Float, store};
use super::layer::{CellGradient, Layer, Sides, Values};
use super::linear::{add, add_outer, multiply, multiply_transposed};
use super::norm::Normalised;
use crate::cell::{add_peepholes, clip, lstm_cell, lstm_output, pullback};
use crate::config::Peephole;
use crate::params::ParameterKind;

/// The slots of `i f g o`.
const INPUT: usize = 0;
const FORGET: usize = 1;
const CANDIDATE: usize = 2;
const OUTPUT: usize = 3;

/// Which third of the peephole weights (`i f o`) a slot has.
const PEEPHOLES: [Option<usize>; 4] = [Some(0), Some(1), None, Some(2)];

/// What the backward needs.
#[derive(Debug, Clone)]
pub(super) struct LstmStep<T> {
    /// For each slot what enters its activation, `[hidden]`.
    pre: [Vec<T>; 4],
    /// With per-gate normalisation: of each slot.
    gate_norms: [Option<Normalised<T>>; 4],
    /// The output, before a projection.
    m: Vec<T>,
    /// With a projection: its result before the clip.
    projected: Vec<T>,
}

impl<T: Float> Layer<'_, T> {
    pub(super) fn lstm(&self, sides: &Sides<T>, before: &Values<T>) -> (LstmStep<T>, Values<T>) {
        let (spec, activations) = (self.spec(), self.activations());
        let hidden = self.config.hidden_size();
        let gate = |slot, seen: &[T]| self.lstm_gate(sides, slot, seen);
        let (i, norm_i) = gate(INPUT, &before.c);
        let (f, norm_f) = gate(FORGET, &before.c);
        let (g, norm_g) = gate(CANDIDATE, &before.c);
        let c2 = self.lstm_cells([&i, &f, &g], before);
        let seen = match spec.peephole {
            Some(Peephole::Old) => &before.c,
            _ => &c2,
        };
        let (o, norm_o) = gate(OUTPUT, seen);
        let (hidden_input, _) = self.normalise_cell(&c2);
        let mut m: Vec<T> = (0..hidden)
            .map(|unit| lstm_output(spec, activations, o[unit], hidden_input[unit]))
            .collect();
        if spec.projection.is_some() {
            store(&mut m);
        }
        let (projected, h) = self.project(&m);
        let new = Values { h, c: c2 };
        // Normalised arguments are not kept, but made of what is.
        let kept = |mut pre: Vec<T>| {
            if spec.layer_norm.is_none() {
                store(&mut pre);
            }
            pre
        };
        let step = LstmStep {
            pre: [i, f, g, o].map(kept),
            gate_norms: [norm_i, norm_f, norm_g, norm_o],
            m,
            projected,
        };
        (step, new)
    }

    /// The new cell states from what enters the activations of `i f g`.
    fn lstm_cells(&self, [i, f, g]: [&[T]; 3], before: &Values<T>) -> Vec<T> {
        let unit = |unit: usize| {
            let pre = [i[unit], f[unit], g[unit]];
            lstm_cell(self.spec(), self.activations(), pre, before.c[unit])
        };
        (0..before.c.len()).map(unit).collect()
    }

    /// What enters a slot's activation: the two sides, its peephole on the cell state `seen`, and with per-gate
    /// normalisation the norm and then the biases.
    fn lstm_gate(
        &self,
        sides: &Sides<T>,
        slot: usize,
        seen: &[T],
    ) -> (Vec<T>, Option<Normalised<T>>) {
        let hidden = self.config.hidden_size();
        let rows = slot * hidden..(slot + 1) * hidden;
        let mut pre = sides.input[rows.clone()].to_vec();
        add(&mut pre, &sides.recurrent[rows.clone()]);
        if let Some(weights) = self.peepholes(slot) {
            for ((pre, &weight), &c) in pre.iter_mut().zip(weights).zip(seen) {
                [*pre] = add_peepholes(self.spec(), [*pre], [weight], c);
            }
        }
        let norm = self
            .spec()
            .layer_norm
            .filter(|_| self.spec().is_per_gate_norm());
        let norm = norm.map(|norm| {
            store(&mut pre);
            Normalised::new(&pre, norm.epsilon)
        });
        if let Some(norm) = &norm {
            pre = norm.scaled(&self.parameter(ParameterKind::NormGates)[rows.clone()]);
            for kind in [ParameterKind::BiasInput, ParameterKind::BiasRecurrent] {
                add(
                    &mut pre,
                    self.parameter(kind).get(rows.clone()).unwrap_or(&[]),
                );
            }
        }
        (pre, norm)
    }

    fn peepholes(&self, slot: usize) -> Option<&[T]> {
        let hidden = self.config.hidden_size();
        let at = PEEPHOLES[slot]? * hidden;
        self.parameter(ParameterKind::Peephole).get(at..at + hidden)
    }

    /// What enters the output activation: the cell state, with whole-row normalisation its norm.
    fn normalise_cell(&self, c2: &[T]) -> (Vec<T>, Option<Normalised<T>>) {
        let norm = self
            .spec()
            .layer_norm
            .filter(|_| self.spec().is_whole_norm());
        let Some(norm) = norm else {
            return (c2.to_vec(), None);
        };
        let norm = Normalised::new(c2, norm.epsilon);
        let mut values = norm.scaled(self.parameter(ParameterKind::NormCellWeight));
        add(&mut values, self.parameter(ParameterKind::NormCellBias));
        (values, Some(norm))
    }

    /// The projection before and after its clip; without a projection nothing and `m` itself.
    fn project(&self, m: &[T]) -> (Vec<T>, Vec<T>) {
        let spec = self.spec();
        if spec.projection.is_none() {
            return (Vec::new(), m.to_vec());
        }
        let mut projected = multiply(self.parameter(ParameterKind::WeightProjection), m);
        add(
            &mut projected,
            self.parameter(ParameterKind::BiasProjection),
        );
        let clipped = projected
            .iter()
            .map(|&value| clip(value, spec.clip.projection));
        let clipped = clipped.collect();
        (projected, clipped)
    }

    pub(super) fn lstm_backward(
        &self,
        step: &LstmStep<T>,
        before: &Values<T>,
        d_new: Values<T>,
        d_parameters: &mut [T],
    ) -> CellGradient<T> {
        let (spec, activations) = (self.spec(), self.activations());
        let hidden = self.config.hidden_size();
        let d_m = self.project_backward(step, d_new.h, d_parameters);
        let c2 = self.lstm_cells(
            [INPUT, FORGET, CANDIDATE].map(|slot| &step.pre[slot][..]),
            before,
        );
        let (hidden_input, cell_norm) = self.normalise_cell(&c2);
        let mut d_pre: [Vec<T>; 4] = std::array::from_fn(|_| vec![T::zero(); hidden]);
        let mut d_hidden_input = vec![T::zero(); hidden];
        for unit in 0..hidden {
            let output = |[o, c]: [_; 2]| [lstm_output(spec, activations, o, c)];
            let inputs = [step.pre[OUTPUT][unit], hidden_input[unit]];
            let (_, [o, c]) = pullback(output, inputs, [d_m[unit]]);
            d_pre[OUTPUT][unit] = o;
            d_hidden_input[unit] = c;
        }
        let mut d_c2 = d_new.c;
        add(
            &mut d_c2,
            &self.normalise_cell_backward(cell_norm, d_hidden_input, d_parameters),
        );

        let mut d_c = vec![T::zero(); hidden];
        let (seen, d_seen) = match spec.peephole {
            Some(Peephole::Old) => (&before.c, &mut d_c),
            _ => (&c2, &mut d_c2),
        };
        self.gate_backward(
            (step, OUTPUT),
            &mut d_pre[OUTPUT],
            (seen, d_seen),
            d_parameters,
        );
        for unit in 0..hidden {
            let cell = |[i, f, g, c]: [_; 4]| [lstm_cell(spec, activations, [i, f, g], c)];
            let pre = |slot: usize| step.pre[slot][unit];
            let inputs = [pre(INPUT), pre(FORGET), pre(CANDIDATE), before.c[unit]];
            let (_, [i, f, g, c]) = pullback(cell, inputs, [d_c2[unit]]);
            d_pre[INPUT][unit] = i;
            d_pre[FORGET][unit] = f;
            d_pre[CANDIDATE][unit] = g;
            d_c[unit] = d_c[unit] + c;
        }
        for slot in [INPUT, FORGET, CANDIDATE] {
            let seen = (before.c.as_slice(), &mut d_c);
            self.gate_backward((step, slot), &mut d_pre[slot], seen, d_parameters);
        }
        let mut d_sum = d_pre.concat();
        store(&mut d_sum);
        CellGradient {
            sides: Sides {
                input: d_sum.clone(),
                recurrent: d_sum,
            },
            before: Values {
                h: Vec::new(),
                c: d_c,
            },
            u: Vec::new(),
        }
    }

    /// The gradient of `m`.
    fn project_backward(&self, step: &LstmStep<T>, d_h: Vec<T>, d_parameters: &mut [T]) -> Vec<T> {
        use ParameterKind as Kind;
        let spec = self.spec();
        if spec.projection.is_none() {
            return d_h;
        }
        let unit = |(&value, d)| {
            let (_, [d]) = pullback(|[v]| [clip(v, spec.clip.projection)], [value], [d]);
            d
        };
        let d: Vec<T> = step.projected.iter().zip(d_h).map(unit).collect();
        add(&mut d_parameters[self.place(Kind::BiasProjection)], &d);
        add_outer(
            &mut d_parameters[self.place(Kind::WeightProjection)],
            &d,
            &step.m,
        );
        let weights = self.parameter(Kind::WeightProjection);
        multiply_transposed(weights, &d, step.m.len())
    }

    /// The gradient of `c2` from that of what enters the output activation.
    fn normalise_cell_backward(
        &self,
        norm: Option<Normalised<T>>,
        d: Vec<T>,
        d_parameters: &mut [T],
    ) -> Vec<T> {
        use ParameterKind as Kind;
        let Some(norm) = norm else {
            return d;
        };
        add(&mut d_parameters[self.place(Kind::NormCellBias)], &d);
        let d_scale = &mut d_parameters[self.place(Kind::NormCellWeight)];
        norm.backward(self.parameter(Kind::NormCellWeight), &d, d_scale)
    }

    /// Back through [`lstm_gate`](Self::lstm_gate): `d` goes from the gradient of what enters the activation to that of
    /// the two sides' sum.
    fn gate_backward(
        &self,
        (step, slot): (&LstmStep<T>, usize),
        d: &mut Vec<T>,
        (seen, d_seen): (&[T], &mut Vec<T>),
        d_parameters: &mut [T],
    ) {
        use ParameterKind as Kind;
        let hidden = self.config.hidden_size();
        let rows = |kind, place: usize| {
            let whole = self.place(kind);
            let start = whole.start + place * hidden;
            start..start + hidden
        };
        if let Some(norm) = &step.gate_norms[slot] {
            for kind in [Kind::BiasInput, Kind::BiasRecurrent] {
                if !self.place(kind).is_empty() {
                    add(&mut d_parameters[rows(kind, slot)], d);
                }
            }
            let places = rows(Kind::NormGates, slot);
            let scale = &self.parameters[places.clone()];
            *d = norm.backward(scale, d, &mut d_parameters[places]);
        }
        if let (Some(weights), Some(place)) = (self.peepholes(slot), PEEPHOLES[slot]) {
            let d_weights = &mut d_parameters[rows(Kind::Peephole, place)];
            for unit in 0..hidden {
                // Linear in the sum, whose value therefore does not matter.
                let see = |[sum, weight, c]: [_; 3]| add_peepholes(self.spec(), [sum], [weight], c);
                let inputs = [T::zero(), weights[unit], seen[unit]];
                let (_, [_, d_weight, d_c]) = pullback(see, inputs, [d[unit]]);
                d_weights[unit] = d_weights[unit] + d_weight;
                d_seen[unit] = d_seen[unit] + d_c;
            }
        }
    }
}
