//! The LSTM's part of [`recurrent_backward`](super::recurrent_backward): one sequence at one step, from the gradients of
//! its output and of its new cell state to those of its gates and of its old cell state.

use crate::cell::{add_peepholes, lstm_cell, lstm_output, pullback};
use crate::config::Peephole;
use crate::cpu::layer_norm_rows_backward::normalisation_gradient;
use crate::cpu::lstm_gates::{CANDIDATE, LstmRow, OUTPUT, PLAIN_ROW, gate_slot};
use crate::cpu::parallel::{Lane, for_lanes};
use crate::cpu::recurrence::{Layer, peephole_third};
use crate::cpu::recurrent_backward::{Scratch, States, Step, UNIT_COST};
use crate::cpu::recurrent_forward::row;
use crate::ops::RandomPurpose;

const SLOTS: usize = 4;

/// One sequence at one step.
struct Row<'a> {
    /// Sums of products, then normalised or with peepholes, then the gradient.
    gates: &'a mut [f32],
    /// With whole-row normalisation: normalised recurrent products, then the gradient of the raw ones.
    sums: &'a mut [f32],
    c_previous: &'a [f32],
    /// What enters the gates' activations, then its gradient.
    pre: &'a mut [f32],
    /// The new cell state before zoneout.
    c_new: &'a mut [f32],
    /// With whole-row normalisation: the normalised cell state, then the gradient through it.
    c_normalised: &'a mut [f32],
    /// Gradient of what enters the output activation.
    d_hidden_input: &'a mut [f32],
    /// Gradient of the new cell state.
    d_c_new: &'a mut [f32],
    /// Gradient of the new cell state after zoneout in, of the previous one out.
    d_c: &'a mut [f32],
    vectors: &'a mut [f32],
}

impl Layer<'_> {
    pub(super) fn lstm_backward(&self, states: &States<'_>, step: &mut Step<'_>) {
        let (hidden, units, at) = (self.op.hidden, self.units(), step.rows.step);
        let c_previous = &states.c[step.rows.range(step.rows.previous, hidden)];
        let d_m = &*step.scratch.d_m;
        let lanes = [
            Lane::new(step.gates, units),
            Lane::new(step.sums, units),
            Lane::new(step.c, hidden),
            Lane::new(step.vectors, self.op.layout.vectors_len()),
            Lane::new(step.scratch.cell, Scratch::cell_width(self.op)),
        ];
        let work = |b: usize, [gates, sums, d_c, vectors, scratch]: [&mut [f32]; 5]| {
            let (pre, rest) = scratch.split_at_mut(units);
            let (c_new, rest) = rest.split_at_mut(hidden);
            let (c_normalised, rest) = rest.split_at_mut(hidden);
            let (d_hidden_input, d_c_new) = rest.split_at_mut(hidden);
            for unit in 0..hidden {
                let purpose = RandomPurpose::ZoneoutCell;
                [d_c[unit], d_c_new[unit]] =
                    self.zoneout_gradient(purpose, (b, at), unit, d_c[unit]);
            }
            let mut row = Row {
                gates,
                sums,
                c_previous: row(c_previous, b, hidden),
                pre,
                c_new,
                c_normalised,
                d_hidden_input,
                d_c_new,
                d_c,
                vectors,
            };
            self.lstm_row_backward(&mut row, &d_m[b * hidden..][..hidden]);
        };
        for_lanes(lanes, step.rows.count, hidden * UNIT_COST, &work);
    }

    fn lstm_row_backward(&self, row: &mut Row<'_>, d_m: &[f32]) {
        let (spec, activations) = (self.spec(), self.activations());
        let deviations = self.recompute(row);
        self.output_backward(row, d_m);
        self.gate_backward(row, OUTPUT, deviations[OUTPUT]);
        for unit in 0..row.c_new.len() {
            let pre = &mut row.pre[unit * SLOTS..][..SLOTS];
            let cell = |[i, f, g, c]: [_; 4]| [lstm_cell(spec, activations, [i, f, g], c)];
            let inputs = [pre[0], pre[1], pre[CANDIDATE], row.c_previous[unit]];
            let [d_i, d_f, d_g, d_c] = pullback(cell, inputs, [row.d_c_new[unit]]).1;
            pre[..OUTPUT].copy_from_slice(&[d_i, d_f, d_g]);
            row.d_c[unit] += d_c;
        }
        for slot in 0..OUTPUT {
            self.gate_backward(row, slot, deviations[slot]);
        }
        if spec.is_whole_norm() {
            self.recurrent_norm_backward(row.gates, row.sums, deviations[0], row.vectors);
        }
    }

    /// What the forward had: `pre`, `c_new`, and what the normalisations need.
    fn recompute(&self, row: &mut Row<'_>) -> [f32; SLOTS] {
        let (sums, input) = match self.spec().is_whole_norm() {
            true => (&mut *row.sums, &*row.gates),
            false => (&mut *row.gates, &[][..]),
        };
        let mut lstm = LstmRow {
            sums,
            input,
            c_previous: row.c_previous,
            pre: row.pre,
            c_new: row.c_new,
        };
        lstm.compute(self)
    }

    /// Back through the output: the gradient of the output gate into `pre`, that of the cell state into `d_c_new`.
    fn output_backward(&self, row: &mut Row<'_>, d_m: &[f32]) {
        let (spec, activations, layout) = (self.spec(), self.activations(), &self.op.layout);
        let whole = spec.is_whole_norm();
        let (weight, bias) = (self.weights.norm_cell_weight, self.weights.norm_cell_bias);
        row.c_normalised.copy_from_slice(row.c_new);
        let mut deviation = 1.0;
        if whole {
            deviation = PLAIN_ROW.normalise(row.c_normalised, self.epsilon());
        }
        for (unit, &d_m) in d_m.iter().enumerate() {
            let mut hidden_input = row.c_normalised[unit];
            if whole {
                hidden_input = hidden_input * weight[unit] + bias[unit];
            }
            let output = |[o, c]: [_; 2]| [lstm_output(spec, activations, o, c)];
            let o = &mut row.pre[unit * SLOTS + OUTPUT];
            let (_, [d_o, d_c]) = pullback(output, [*o, hidden_input], [d_m]);
            *o = d_o;
            row.d_hidden_input[unit] = d_c;
        }
        if !whole {
            for (d_c_new, d) in row.d_c_new.iter_mut().zip(&*row.d_hidden_input) {
                *d_c_new += d;
            }
            return;
        }
        let d = &*row.d_hidden_input;
        if !row.vectors.is_empty() {
            let (weights, biases) = (
                layout.norm_cell_weight - layout.vectors,
                layout.norm_cell_bias - layout.vectors,
            );
            for (unit, &d) in d.iter().enumerate() {
                row.vectors[weights + unit] += d * row.c_normalised[unit];
                row.vectors[biases + unit] += d;
            }
        }
        normalisation_gradient(row.c_normalised, PLAIN_ROW, deviation, |unit| {
            weight[unit] * d[unit]
        });
        for (d_c_new, d) in row.d_c_new.iter_mut().zip(&*row.c_normalised) {
            *d_c_new += d;
        }
    }

    /// From the gradient of what enters a gate's activation (in `pre`) to that of its sum of products (in `gates`), of its
    /// normalisation's vectors, of its peephole and of the cell state that it sees.
    fn gate_backward(&self, row: &mut Row<'_>, slot: usize, deviation: f32) {
        let (layout, d) = (&self.op.layout, &*row.pre);
        let indices = || (slot..d.len()).step_by(SLOTS);
        if self.spec().is_per_gate_norm() {
            if !row.vectors.is_empty() {
                let (scales, biases) = (
                    layout.norm_gates - layout.vectors,
                    layout.gate_bias - layout.vectors,
                );
                for index in indices() {
                    row.vectors[scales + index] += d[index] * row.gates[index];
                    row.vectors[biases + index] += d[index];
                }
            }
            let scales = self.weights.norm_gates;
            normalisation_gradient(row.gates, gate_slot(slot), deviation, |index| {
                scales[index] * d[index]
            });
        } else {
            for index in indices() {
                row.gates[index] = d[index];
            }
        }
        if let (Some(weights), Some(third)) = (self.weights.peephole(slot), peephole_third(slot)) {
            let at = layout.peephole - layout.vectors + third * weights.len();
            self.peephole_backward(row, slot, weights, at);
        }
    }

    /// Back through a gate's peephole, whose weights' gradients lie from `at` on in the vectors.
    fn peephole_backward(&self, row: &mut Row<'_>, slot: usize, weights: &[f32], at: usize) {
        let spec = self.spec();
        let sees_new = slot == OUTPUT && spec.peephole != Some(Peephole::Old);
        let (seen, d_seen) = match sees_new {
            true => (&*row.c_new, &mut *row.d_c_new),
            false => (row.c_previous, &mut *row.d_c),
        };
        for (unit, &weight) in weights.iter().enumerate() {
            // Linear in the sum, whose value therefore does not matter.
            let peek = |[sum, weight, c]: [_; 3]| add_peepholes(spec, [sum], [weight], c);
            let d = row.gates[unit * SLOTS + slot];
            let (_, [_, d_weight, d_c]) = pullback(peek, [0.0, weight, seen[unit]], [d]);
            d_seen[unit] += d_c;
            if let Some(sum) = row.vectors.get_mut(at + unit) {
                *sum += d_weight;
            }
        }
    }
}
