//! The LSTM's rows, backward: from the gradients of the output and of the new cell state to those of the gates and of the old
//! cell state.

use pulp::Simd;

use super::backward::{Backward, Scratch};
use super::lstm_forward::{gates, peepholes, see_new, see_previous, sees_new};
use super::{CANDIDATE, OUTPUT, recurrent_group, row, row_mut};
use crate::cell::{inputs, lstm_cell, lstm_output, lstm_unit, pull};
use crate::config::Cell;
use crate::cpu::row_norm::{Group, Moments, Sums, means};
use crate::cpu::simd::SLOTS;
use crate::cpu::tile::BackwardStep;
use crate::cpu::vector::{Units, Vector};
use crate::ops::RandomPurpose;

/// One sequence at one step.
struct Row<'a> {
    /// Sums of products in, or with whole-row normalisation the input side; their gradients out.
    gates: &'a mut [f32],
    /// With whole-row normalisation: raw recurrent products in, their gradients out.
    sums: &'a mut [f32],
    c_previous: &'a [f32],
    /// Gradient of the output.
    d_m: &'a [f32],
    /// Gradient of the new cell state after zoneout in, of the old one out.
    d_c: &'a mut [f32],
    vectors: &'a mut [f32],
    planes: &'a mut [f32],
    /// A row of gates: what enters the activations, and then its gradient.
    pre: &'a mut [f32],
    /// The new cell state before zoneout.
    c_new: &'a mut [f32],
    /// Its gradient.
    d_c_new: &'a mut [f32],
}

impl<S: Simd> Backward<'_, S> {
    /// The gradient of the new cell state before zoneout.
    #[inline(always)]
    pub(super) fn enter_cell(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        for b in 0..step.count {
            let place = (step.sequence + b, self.at);
            let row = self.lstm_row(step, scratch, b);
            for units in Units::of_row(self.simd, row.d_c.len()) {
                let purpose = RandomPurpose::ZoneoutCell;
                let [d_old, d_new] = self.zoneout(purpose, place, units, units.load(row.d_c));
                units.store(row.d_c, d_old);
                units.store(row.d_c_new, d_new);
            }
        }
    }

    #[inline(always)]
    fn lstm_row<'r>(
        &self,
        step: &'r mut BackwardStep<'_>,
        scratch: &'r mut Scratch<'_>,
        b: usize,
    ) -> Row<'r>
    where
        Self: 'r,
    {
        let (layer, hidden, width) = (self.layer, self.layer.op.hidden, self.layer.units());
        let (pre, rest) = row_mut(scratch.cell, b, width + 2 * hidden).split_at_mut(width);
        let (c_new, d_c_new) = rest.split_at_mut(hidden);
        Row {
            gates: row_mut(step.gates, b, width),
            sums: row_mut(step.sums, b, width),
            c_previous: row(self.given.c, step.previous + b, hidden),
            d_m: row(scratch.d_m, b, hidden),
            d_c: row_mut(step.d_c, b, hidden),
            vectors: row_mut(step.vectors, b, layer.op.layout.vectors_len()),
            planes: self.planes(scratch.planes, b),
            pre,
            c_new,
            d_c_new,
        }
    }

    #[inline(always)]
    pub(super) fn lstm(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        for b in 0..step.count {
            self.lstm_plain_row(self.lstm_row(step, scratch, b));
        }
    }

    #[inline(always)]
    pub(super) fn lstm_peephole(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        for b in 0..step.count {
            self.lstm_peephole_row(self.lstm_row(step, scratch, b));
        }
    }

    #[inline(always)]
    pub(super) fn lstm_whole_norm(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        for b in 0..step.count {
            self.lstm_whole_norm_row(self.lstm_row(step, scratch, b));
        }
    }

    #[inline(always)]
    pub(super) fn lstm_gate_norm(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        for b in 0..step.count {
            self.lstm_gate_norm_row(self.lstm_row(step, scratch, b));
        }
    }

    #[inline(always)]
    fn lstm_plain_row(&self, row: Row<'_>) {
        let (spec, activations) = (self.layer.spec(), self.layer.activations());
        for units in Units::of_row(self.simd, row.c_new.len()) {
            let [i, f, g, o] = units.load_slots(row.gates);
            let [i, f, g, o, c] = inputs([i, f, g, o, units.load(row.c_previous)]);
            // No peephole looks at these.
            let unit = lstm_unit(spec, activations, [i, f, g, o], c, [i, f, o]);
            let d = [units.load(row.d_c_new), units.load(row.d_m)];
            let [i, f, g, o, d_c] = pull(unit, d);
            units.store_slots(row.gates, [i, f, g, o]);
            units.add(row.d_c, d_c);
            self.store_planes(units, row.planes, [i, f, g, o]);
        }
    }

    #[inline(always)]
    fn lstm_peephole_row(&self, row: Row<'_>) {
        let (layer, hidden) = (self.layer, row.c_new.len());
        let (spec, activations) = (layer.spec(), layer.activations());
        let sums = self.vectors(row.vectors, layer.op.layout.peephole, 3 * hidden);
        for units in Units::of_row(self.simd, hidden) {
            let [i, f, g, o] = units.load_slots(row.gates);
            let [p_i, p_f, p_o] = peepholes(layer, units);
            let c = units.load(row.c_previous);
            let [i, f, g, o, c, p_i, p_f, p_o] = inputs([i, f, g, o, c, p_i, p_f, p_o]);
            let unit = lstm_unit(spec, activations, [i, f, g, o], c, [p_i, p_f, p_o]);
            let d = [units.load(row.d_c_new), units.load(row.d_m)];
            let [i, f, g, o, d_c, p_i, p_f, p_o] = pull(unit, d);
            units.store_slots(row.gates, [i, f, g, o]);
            units.add(row.d_c, d_c);
            for (third, d) in [p_i, p_f, p_o].into_iter().enumerate() {
                units.add(third_of(sums, third, hidden), d);
            }
            self.store_planes(units, row.planes, [i, f, g, o]);
        }
    }

    /// Back through the output: its gate's gradient into `pre`, returns that of what enters its activation.
    #[inline(always)]
    fn lstm_output(
        &self,
        units: Units<S>,
        (pre, d_m): (&mut [f32], &[f32]),
        seen: Vector<S>,
    ) -> Vector<S> {
        let mut slots = units.load_slots(pre);
        let [o, c] = inputs([slots[OUTPUT], seen]);
        let m = lstm_output(self.layer.spec(), self.layer.activations(), o, c);
        let [d_o, d_seen] = pull([m], [units.load(d_m)]);
        slots[OUTPUT] = d_o;
        units.store_slots(pre, slots);
        d_seen
    }

    /// Back through the cell: the gradients of `i f g` into `pre`, that of the old cell state is added.
    #[inline(always)]
    fn lstm_cell(&self, units: Units<S>, row: &mut Row<'_>) -> [Vector<S>; SLOTS] {
        let [i, f, g, d_o] = units.load_slots(row.pre);
        let [i, f, g, c] = inputs([i, f, g, units.load(row.c_previous)]);
        let cell = lstm_cell(self.layer.spec(), self.layer.activations(), [i, f, g], c);
        let [d_i, d_f, d_g, d_c] = pull([cell], [units.load(row.d_c_new)]);
        units.add(row.d_c, d_c);
        [d_i, d_f, d_g, d_o]
    }

    #[inline(always)]
    fn lstm_whole_norm_row(&self, mut row: Row<'_>) {
        let (layer, simd, hidden) = (self.layer, self.simd, row.c_new.len());
        let (spec, activations, epsilon) = (layer.spec(), layer.activations(), layer.epsilon());
        let kind = (hidden, recurrent_group(Cell::Lstm), epsilon);
        let norm = Moments::of_slots(simd, row.sums, kind);
        for units in Units::of_row(simd, hidden) {
            let mut pre = units.load_slots(row.gates);
            let scales = units.load_slots(layer.weights.norm_recurrent);
            let sums = units.load_slots(row.sums);
            for slot in 0..SLOTS {
                pre[slot] = pre[slot] + scales[slot] * norm.normalised(slot, sums[slot]);
            }
            units.store_slots(row.pre, pre);
            let gates = [pre[0], pre[1], pre[CANDIDATE]];
            let c = lstm_cell(spec, activations, gates, units.load(row.c_previous));
            units.store(row.c_new, c);
        }
        self.cell_norm(&mut row);
        for units in Units::of_row(simd, hidden) {
            let d = self.lstm_cell(units, &mut row);
            units.store_slots(row.gates, d);
        }
        self.recurrent_norm(&norm, row.gates, row.sums, row.vectors);
        for units in Units::of_row(simd, hidden) {
            let d = units.load_slots(row.sums);
            self.store_planes(units, row.planes, d);
        }
    }

    /// Back through the output and the normalisation of the cell state on its way there.
    #[inline(always)]
    fn cell_norm(&self, row: &mut Row<'_>) {
        let (layer, simd, hidden) = (self.layer, self.simd, row.c_new.len());
        let (layout, zero) = (&layer.op.layout, Vector::splat(simd, 0.0));
        let (weight, bias) = (layer.weights.norm_cell_weight, layer.weights.norm_cell_bias);
        let norm = Moments::of_row(simd, row.c_new, layer.epsilon());
        let mut totals = [Sums::new(simd); 2];
        for units in Units::of_row(simd, hidden) {
            let normalised = norm.normalised(0, units.load(row.c_new));
            let seen = normalised * units.load(weight) + units.load(bias);
            let d_seen = self.lstm_output(units, (row.pre, row.d_m), seen);
            let weights = self.vectors(row.vectors, layout.norm_cell_weight, hidden);
            units.add(weights, d_seen * normalised);
            let biases = self.vectors(row.vectors, layout.norm_cell_bias, hidden);
            units.add(biases, d_seen);
            let d = d_seen * units.load(weight);
            totals[0].add(units, [d, zero, zero, zero]);
            totals[1].add(units, [d * normalised, zero, zero, zero]);
            // Where the gates' gradients will be; the input side has been read.
            let [_, x, y, z] = units.load_slots(row.gates);
            units.store_slots(row.gates, [d, x, y, z]);
        }
        let means = means(totals, Group::Each, hidden);
        for units in Units::of_row(simd, hidden) {
            let normalised = norm.normalised(0, units.load(row.c_new));
            let d = units.load_slots(row.gates)[0];
            units.add(row.d_c_new, norm.gradient(0, [normalised, d], means));
        }
    }

    #[inline(always)]
    fn lstm_gate_norm_row(&self, mut row: Row<'_>) {
        let (layer, simd, hidden) = (self.layer, self.simd, row.c_new.len());
        let (spec, activations) = (layer.spec(), layer.activations());
        let kind = (hidden, Group::Each, layer.epsilon());
        for units in Units::of_row(simd, hidden) {
            let slots = see_previous(layer, units, row.gates, row.c_previous);
            units.store_slots(row.gates, slots);
        }
        let mut norm = Moments::of_slots(simd, row.gates, kind);
        for units in Units::of_row(simd, hidden) {
            let [i, f, g, _] = gates(layer, units, row.gates, &norm);
            let c = lstm_cell(spec, activations, [i, f, g], units.load(row.c_previous));
            units.store(row.c_new, c);
        }
        if sees_new(layer) {
            for units in Units::of_row(simd, hidden) {
                see_new(layer, units, row.gates, row.c_new);
            }
            norm = Moments::of_slots(simd, row.gates, kind);
        }
        for units in Units::of_row(simd, hidden) {
            units.store_slots(row.pre, gates(layer, units, row.gates, &norm));
            let seen = units.load(row.c_new);
            let d_seen = self.lstm_output(units, (row.pre, row.d_m), seen);
            units.add(row.d_c_new, d_seen);
        }
        // The output gate first: it may add to the gradient of the cell state that the others start from.
        self.gate_norm(&norm, &mut row, [false, false, false, true]);
        for units in Units::of_row(simd, hidden) {
            let d = self.lstm_cell(units, &mut row);
            units.store_slots(row.pre, d);
        }
        self.gate_norm(&norm, &mut row, [true, true, true, false]);
        for units in Units::of_row(simd, hidden) {
            let d = units.load_slots(row.gates);
            self.store_planes(units, row.planes, d);
        }
    }

    /// From the gradients of what enters some gates' activations (in `pre`) to those of their sums (in `gates`), of their scales
    /// and biases, of their peepholes and of the cell state that these see.
    #[inline(always)]
    fn gate_norm(&self, norm: &Moments<S>, row: &mut Row<'_>, wanted: [bool; SLOTS]) {
        let (layer, simd, hidden) = (self.layer, self.simd, row.c_new.len());
        let (layout, scales) = (&layer.op.layout, layer.weights.norm_gates);
        let zero = Vector::splat(simd, 0.0);
        let mut totals = [Sums::new(simd); 2];
        for units in Units::of_row(simd, hidden) {
            let (sums, scales) = (units.load_slots(row.gates), units.load_slots(scales));
            let mut d_pre = units.load_slots(row.pre);
            let (mut d_scale, mut d, mut products) = (d_pre, d_pre, d_pre);
            for slot in 0..SLOTS {
                if !wanted[slot] {
                    // In the gates is a gradient already, or not one yet.
                    (d_pre[slot], d_scale[slot]) = (zero, zero);
                    (d[slot], products[slot]) = (zero, zero);
                    continue;
                }
                let normalised = norm.normalised(slot, sums[slot]);
                d_scale[slot] = d_pre[slot] * normalised;
                d[slot] = d_pre[slot] * scales[slot];
                products[slot] = d[slot] * normalised;
            }
            let part = self.vectors(row.vectors, layout.norm_gates, SLOTS * hidden);
            units.add_slots(part, d_scale);
            let part = self.vectors(row.vectors, layout.gate_bias, SLOTS * hidden);
            units.add_slots(part, d_pre);
            totals[0].add(units, d);
            totals[1].add(units, products);
        }
        let means = means(totals, Group::Each, hidden);
        for units in Units::of_row(simd, hidden) {
            let (d_pre, scales) = (units.load_slots(row.pre), units.load_slots(scales));
            let mut sums = units.load_slots(row.gates);
            for slot in 0..SLOTS {
                if wanted[slot] {
                    let normalised = norm.normalised(slot, sums[slot]);
                    let d = d_pre[slot] * scales[slot];
                    sums[slot] = norm.gradient(slot, [normalised, d], means);
                }
            }
            units.store_slots(row.gates, sums);
            self.peephole_gradients(units, row, sums, wanted);
        }
    }

    /// Back through the peepholes of some gates, given the gradients of their sums.
    #[inline(always)]
    fn peephole_gradients(
        &self,
        units: Units<S>,
        row: &mut Row<'_>,
        d: [Vector<S>; SLOTS],
        wanted: [bool; SLOTS],
    ) {
        let (layer, hidden) = (self.layer, row.c_new.len());
        if layer.spec().peephole.is_none() {
            return;
        }
        let weights = peepholes(layer, units);
        let sums = self.vectors(row.vectors, layer.op.layout.peephole, 3 * hidden);
        for (third, slot) in [0, 1, OUTPUT].into_iter().enumerate() {
            if !wanted[slot] {
                continue;
            }
            let (seen, d_seen) = match slot == OUTPUT && sees_new(layer) {
                true => (&*row.c_new, &mut *row.d_c_new),
                false => (row.c_previous, &mut *row.d_c),
            };
            units.add(d_seen, d[slot] * weights[third]);
            units.add(third_of(sums, third, hidden), d[slot] * units.load(seen));
        }
    }
}

/// A third of the peepholes' sums, if they are wanted.
#[inline(always)]
fn third_of(sums: &mut [f32], third: usize, hidden: usize) -> &mut [f32] {
    match sums.is_empty() {
        true => sums,
        false => &mut sums[third * hidden..(third + 1) * hidden],
    }
}
