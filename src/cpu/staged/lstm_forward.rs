//! The LSTM's rows, forward.

use pulp::Simd;

use super::forward::Forward;
use super::{OUTPUT, recurrent_group, row, row_mut};
use crate::cell::{add_peepholes, lstm_cell, lstm_output, lstm_unit};
use crate::config::{Cell, Peephole};
use crate::cpu::recurrence::Layer;
use crate::cpu::row_norm::{Group, Moments};
use crate::cpu::simd::SLOTS;
use crate::cpu::tile::ForwardStep;
use crate::cpu::vector::{Units, Vector};

impl<S: Simd> Forward<'_, S> {
    #[inline(always)]
    fn lstm_row<'r>(&self, step: &'r mut ForwardStep<'_>, b: usize) -> Row<'r> {
        let (hidden, width) = (self.layer.op.hidden, self.layer.units());
        Row {
            gates: row(step.gates, b, width),
            sums: row(step.sums, b, width),
            c_previous: row(step.c_previous, b, hidden),
            c: row_mut(step.c, b, hidden),
            m: match self.layer.spec().projection {
                Some(_) => row_mut(step.second, b, hidden),
                None => row_mut(step.h, b, hidden),
            },
            scratch: row_mut(step.scratch, b, width),
        }
    }

    #[inline(always)]
    pub(super) fn lstm(&self, step: &mut ForwardStep<'_>) {
        for b in 0..step.count {
            self.lstm_plain_row(self.lstm_row(step, b));
        }
    }

    #[inline(always)]
    pub(super) fn lstm_whole_norm(&self, step: &mut ForwardStep<'_>) {
        for b in 0..step.count {
            self.lstm_whole_norm_row(self.lstm_row(step, b));
        }
    }

    #[inline(always)]
    pub(super) fn lstm_gate_norm(&self, step: &mut ForwardStep<'_>) {
        for b in 0..step.count {
            self.lstm_gate_norm_row(self.lstm_row(step, b));
        }
    }

    #[inline(always)]
    fn lstm_plain_row(&self, row: Row<'_>) {
        let (layer, spec) = (self.layer, self.layer.spec());
        for units in Units::of_row(self.simd, row.c.len()) {
            let peepholes = peepholes(layer, units);
            let (pre, c) = (units.load_slots(row.gates), units.load(row.c_previous));
            let [c2, m] = lstm_unit(spec, layer.activations(), pre, c, peepholes);
            units.store(row.c, c2);
            units.store(row.m, m);
        }
    }

    /// The recurrent products of all gates are normalised as one, and the cell state on its way to the output.
    #[inline(always)]
    fn lstm_whole_norm_row(&self, row: Row<'_>) {
        let (layer, simd, hidden) = (self.layer, self.simd, row.c.len());
        let (spec, activations, epsilon) = (layer.spec(), layer.activations(), layer.epsilon());
        let kind = (hidden, recurrent_group(Cell::Lstm), epsilon);
        let norm = Moments::of_slots(simd, row.sums, kind);
        let output = &mut row.scratch[..hidden];
        for units in Units::of_row(simd, hidden) {
            let mut pre = units.load_slots(row.gates);
            let scales = units.load_slots(layer.weights.norm_recurrent);
            let sums = units.load_slots(row.sums);
            for slot in 0..SLOTS {
                pre[slot] = pre[slot] + scales[slot] * norm.normalised(slot, sums[slot]);
            }
            let [i, f, g, o] = pre;
            let c = lstm_cell(spec, activations, [i, f, g], units.load(row.c_previous));
            units.store(row.c, c);
            units.store(output, o);
        }
        let norm = Moments::of_row(simd, row.c, epsilon);
        let (weight, bias) = (layer.weights.norm_cell_weight, layer.weights.norm_cell_bias);
        for units in Units::of_row(simd, hidden) {
            let normalised = norm.normalised(0, units.load(row.c));
            let seen = normalised * units.load(weight) + units.load(bias);
            let m = lstm_output(spec, activations, units.load(output), seen);
            units.store(row.m, m);
        }
    }

    /// Each gate's sums are normalised by themselves, those of the output gate after what they see.
    #[inline(always)]
    fn lstm_gate_norm_row(&self, row: Row<'_>) {
        let (layer, simd, hidden) = (self.layer, self.simd, row.c.len());
        let (spec, activations) = (layer.spec(), layer.activations());
        let kind = (hidden, Group::Each, layer.epsilon());
        let sums = row.scratch;
        for units in Units::of_row(simd, hidden) {
            let slots = see_previous(layer, units, row.gates, row.c_previous);
            units.store_slots(sums, slots);
        }
        let norm = Moments::of_slots(simd, sums, kind);
        for units in Units::of_row(simd, hidden) {
            let [i, f, g, _] = gates(layer, units, sums, &norm);
            let c = lstm_cell(spec, activations, [i, f, g], units.load(row.c_previous));
            units.store(row.c, c);
        }
        let norm = match sees_new(layer) {
            false => norm,
            true => {
                for units in Units::of_row(simd, hidden) {
                    see_new(layer, units, sums, row.c);
                }
                Moments::of_slots(simd, sums, kind)
            }
        };
        for units in Units::of_row(simd, hidden) {
            let o = gates(layer, units, sums, &norm)[OUTPUT];
            let m = lstm_output(spec, activations, o, units.load(row.c));
            units.store(row.m, m);
        }
    }
}

/// One sequence at one step.
struct Row<'a> {
    gates: &'a [f32],
    sums: &'a [f32],
    c_previous: &'a [f32],
    c: &'a mut [f32],
    /// The output, or what enters the projection.
    m: &'a mut [f32],
    scratch: &'a mut [f32],
}

/// The peephole weights of `i f o`, zeros if there are none.
#[inline(always)]
pub(super) fn peepholes<S: Simd>(layer: &Layer<'_>, units: Units<S>) -> [Vector<S>; 3] {
    let mut weights = [Vector::splat(units.simd, 0.0); 3];
    for (weights, slot) in weights.iter_mut().zip([0, 1, OUTPUT]) {
        if let Some(peephole) = layer.weights.peephole(slot) {
            *weights = units.load(peephole);
        }
    }
    weights
}

/// Whether the output gate sees the new cell state.
pub(super) fn sees_new(layer: &Layer<'_>) -> bool {
    layer.spec().peephole == Some(Peephole::New)
}

/// The gates' sums with what those that see the old cell state see of it.
#[inline(always)]
pub(super) fn see_previous<S: Simd>(
    layer: &Layer<'_>,
    units: Units<S>,
    gates: &[f32],
    c_previous: &[f32],
) -> [Vector<S>; SLOTS] {
    let [i, f, g, mut o] = units.load_slots(gates);
    let ([p_i, p_f, p_o], c) = (peepholes(layer, units), units.load(c_previous));
    let [i, f] = add_peepholes(layer.spec(), [i, f], [p_i, p_f], c);
    if !sees_new(layer) {
        [o] = add_peepholes(layer.spec(), [o], [p_o], c);
    }
    [i, f, g, o]
}

/// Adds to the output gate's sums what it sees of the new cell state.
#[inline(always)]
pub(super) fn see_new<S: Simd>(layer: &Layer<'_>, units: Units<S>, sums: &mut [f32], c: &[f32]) {
    let mut slots = units.load_slots(sums);
    let weight = peepholes(layer, units)[2];
    [slots[OUTPUT]] = add_peepholes(layer.spec(), [slots[OUTPUT]], [weight], units.load(c));
    units.store_slots(sums, slots);
}

/// What enters the gates' activations, with each gate's sums normalised.
#[inline(always)]
pub(super) fn gates<S: Simd>(
    layer: &Layer<'_>,
    units: Units<S>,
    sums: &[f32],
    norm: &Moments<S>,
) -> [Vector<S>; SLOTS] {
    let mut pre = units.load_slots(sums);
    let scales = units.load_slots(layer.weights.norm_gates);
    let biases = units.load_slots(layer.weights.gate_bias);
    for slot in 0..SLOTS {
        pre[slot] = norm.normalised(slot, pre[slot]) * scales[slot] + biases[slot];
    }
    pre
}
