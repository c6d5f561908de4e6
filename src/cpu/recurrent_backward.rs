//! [`RecurrentBackward`] on the CPU: for each step, last first, the cell's pullback and then one matrix product.
//!
//! No derivative is written here but those of sums, products with a matrix and normalisations: everything pointwise is
//! the forward's own function, run on dual numbers ([`crate::cell::pullback`]). The LSTM's rows are in
//! `recurrent_backward_lstm`.

use std::ops::Range;

use crate::cell::{clip, elman_unit, gru_after, gru_before, gru_reset, pullback};
use crate::config::{Cell, GruReset};
use crate::cpu::access::{Accesses, elements};
use crate::cpu::layer_norm_rows_backward::normalisation_gradient;
use crate::cpu::matrix_product::{View, matrix_product};
use crate::cpu::memory::Extent;
use crate::cpu::panel_cache::PanelSource;
use crate::cpu::parallel::{Lane, for_lanes, join};
use crate::cpu::plain::{self, Given, Kind, LayerPanels, LayerSource};
use crate::cpu::plan::{Context, Run};
use crate::cpu::recurrence::{
    self, Extents, Layer, StepRows, check, check_vectors, most_rows, of_directions, other_input,
    recurrent_slots,
};
use crate::cpu::recurrent_forward::{CANDIDATE_SLOT, part, row, unit_slots};
use crate::cpu::simd::MOST_LANES;
use crate::cpu::tile::{BackwardRows, InputRows, Rows};
use crate::error::{Error, Result};
use crate::ops::{RandomPurpose, Recurrence, RecurrentBackward, Region};

/// Simple operations that a unit of a step costs.
pub(super) const UNIT_COST: usize = 192;
const SLOTS: usize = 4;

/// Sizes of the tensors that the backward adds, all directions.
pub(super) struct GradientExtents {
    pub(super) output: usize,
    pub(super) h: usize,
    pub(super) c: usize,
    vectors: usize,
}

impl GradientExtents {
    pub(super) fn new(op: &RecurrentBackward) -> Self {
        let forward = &op.forward;
        let of = |sizes: &[usize]| elements(sizes).saturating_mul(forward.directions);
        Self {
            output: of(&[forward.tokens, forward.state]),
            h: of(&[forward.batch, forward.state]),
            c: of(&[forward.batch, forward.hidden]),
            vectors: of(&[forward.batch, forward.layout.vectors_len()]),
        }
    }
}

impl Run for RecurrentBackward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let op = &self.forward;
        check(op, accesses)?;
        if self.c_gradient.is_some() != op.states.c.is_some() {
            return Err(Error::State("an LSTM's backward needs its cell gradient"));
        }
        let extents = Extents::new(op);
        accesses.read(op.states.h, extents.h)?;
        accesses.read_optional(other_input(op), extents.h)?;
        accesses.read_optional(op.states.mask, extents.mask)?;
        accesses.read_optional(op.states.c, extents.c)?;
        accesses.read_optional(op.states.second, extents.second)?;
        accesses.write(op.gates, extents.gates)?;
        accesses.write_optional(op.recurrent_sums, extents.gates)?;
        let gradients = GradientExtents::new(self);
        accesses.write(self.output_gradient, gradients.output)?;
        accesses.write(self.h_gradient, gradients.h)?;
        accesses.write_optional(self.c_gradient, gradients.c)?;
        if self.vectors().is_some() {
            check_vectors(op)?;
        }
        accesses.write_optional(self.vectors(), gradients.vectors)
    }

    fn multiplications(&self) -> usize {
        recurrence::multiplications(&self.forward)
    }

    fn panels(&self) -> Option<PanelSource> {
        let source = LayerSource::new(&self.forward)?.with_backward();
        Some(PanelSource::Layer(Box::new(source)))
    }

    fn scratch(&self) -> usize {
        let op = &self.forward;
        if let Some(kind) = plain::kind(op) {
            // As much as with any instruction set.
            let width = plain::scratch_width(op, kind, MOST_LANES);
            return elements(&[op.directions, op.batch, width]);
        }
        elements(&[op.directions, most_rows(op), Scratch::width(op)])
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let op = &self.forward;
        if let (Some(kind), Some(panels)) = (plain::kind(op), context.layer_panels()) {
            return self.run_plain(kind, panels, context);
        }
        let packed = context.memory.part(op.weights)?;
        let h = context.memory.part(op.states.h)?;
        let input = context.memory.part(op.states.recurrent_input)?;
        let mask = context.memory.optional(op.states.mask)?;
        let c = context.memory.optional(op.states.c)?;
        let second = context.memory.optional(op.states.second)?;
        let extents = Extents::new(op);
        let mask = mask
            .as_deref()
            .map_or(&[][..], |mask| &mask[..extents.mask]);
        let scratch = &mut context.scratch[..self.scratch()];
        context.memory.write_parts(self.written(), |parts| {
            let run = |direction, gradients: Gradients<'_>| {
                let of = |values: &'_ [f32], len: usize| -> Range<usize> {
                    let len = if values.is_empty() {
                        0
                    } else {
                        len / op.directions
                    };
                    direction * len..(direction + 1) * len
                };
                let (c, second) = (
                    c.as_deref().unwrap_or(&[]),
                    second.as_deref().unwrap_or(&[]),
                );
                let states = States {
                    h: &h[of(&h, extents.h)],
                    u: &input[of(&input, extents.h)],
                    c: &c[of(c, extents.c)],
                    second: &second[of(second, extents.second)],
                };
                Layer::new(op, direction, &packed, mask, context.seed).backward(&states, gradients);
            };
            let split = |values| of_directions(values, op.directions);
            let [first, other] = Gradients::zip(parts.map(split), split(scratch));
            match op.directions {
                1 => run(0, first),
                _ => {
                    join(|| run(0, first), || run(1, other));
                }
            }
        })
    }
}

impl RecurrentBackward {
    /// A cell that is served the fast way.
    fn run_plain(&self, kind: Kind, panels: &LayerPanels, context: Context<'_>) -> Result<()> {
        let op = &self.forward;
        let (units, hidden, extents) = (op.hidden * op.layout.slots, op.hidden, Extents::new(op));
        let h = context.memory.part(op.states.h)?;
        let c = context.memory.optional(op.states.c)?;
        let c = c.as_deref().unwrap_or(&[]);
        let [gates, _, output, d_h, d_c, _] = self.written();
        let scratch = &mut context.scratch[..self.scratch()];
        context
            .memory
            .write_parts([gates, output, d_h, d_c], |parts| {
                let split = |values| of_directions(values, op.directions);
                let run =
                    |direction: usize, [gates, output, d_h, d_c, products]: [&mut [f32]; 5]| {
                        let of = |values: &'_ [f32], len: usize| -> Range<usize> {
                            let len = if values.is_empty() {
                                0
                            } else {
                                len / op.directions
                            };
                            direction * len..(direction + 1) * len
                        };
                        let given = Given {
                            h: &h[of(&h, extents.h)],
                            c: &c[of(c, extents.c)],
                            d_output: output,
                            rebuilt: self.rebuilt,
                            products: None,
                        };
                        let rows = BackwardRows {
                            gates: Rows::new(gates, units),
                            d_h: Rows::new(d_h, hidden),
                            d_c: Rows::new(d_c, hidden),
                            products: Rows::new(
                                products,
                                plain::scratch_width(op, kind, panels.lanes()),
                            ),
                            partial: Rows::absent(),
                            d_input: InputRows::absent(),
                        };
                        plain::backward(op, (kind, direction), panels, given, rows);
                    };
                let [[g0, g1], [o0, o1], [h0, h1], [c0, c1]] = parts.map(split);
                let [s0, s1] = split(scratch);
                let (first, other) = ([g0, o0, h0, c0, s0], [g1, o1, h1, c1, s1]);
                match op.directions {
                    1 => run(0, first),
                    _ => {
                        join(|| run(0, first), || run(1, other));
                    }
                }
            })
    }

    fn written(&self) -> [Extent; 6] {
        let op = &self.forward;
        let gates = Extents::new(op).gates;
        let gradients = GradientExtents::new(self);
        let optional = |region, len| Extent::optional(region, len, op.gates);
        [
            Extent::new(op.gates, gates),
            optional(op.recurrent_sums, gates),
            Extent::new(self.output_gradient, gradients.output),
            Extent::new(self.h_gradient, gradients.h),
            optional(self.c_gradient, gradients.c),
            optional(self.vectors(), gradients.vectors),
        ]
    }

    /// The vectors' sums, unless there is no vector.
    fn vectors(&self) -> Option<Region> {
        self.vector_sums
            .filter(|_| self.forward.layout.vectors_len() > 0)
    }
}

/// One direction's states as the forward left them.
pub(super) struct States<'a> {
    /// `[batch + tokens, state]`
    h: &'a [f32],
    /// What entered the recurrent product, in the same shape.
    u: &'a [f32],
    /// `[batch + tokens, hidden]`, or empty.
    pub(super) c: &'a [f32],
    /// `[tokens, hidden]`, or empty.
    second: &'a [f32],
}

/// What one direction changes; absent tensors are empty.
struct Gradients<'a> {
    gates: &'a mut [f32],
    sums: &'a mut [f32],
    output: &'a mut [f32],
    h: &'a mut [f32],
    c: &'a mut [f32],
    vectors: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl<'a> Gradients<'a> {
    fn zip(of_directions: [[&'a mut [f32]; 2]; 6], scratch: [&'a mut [f32]; 2]) -> [Self; 2] {
        let [[g0, g1], [s0, s1], [o0, o1], [h0, h1], [c0, c1], [v0, v1]] = of_directions;
        let gradients = |[gates, sums, output, h, c, vectors, scratch]: [&'a mut [f32]; 7]| Self {
            gates,
            sums,
            output,
            h,
            c,
            vectors,
            scratch,
        };
        let [w0, w1] = scratch;
        [
            gradients([g0, s0, o0, h0, c0, v0, w0]),
            gradients([g1, s1, o1, h1, c1, v1, w1]),
        ]
    }

    fn step(&mut self, op: &Recurrence, rows: StepRows) -> Step<'_> {
        let units = op.hidden * op.layout.slots;
        let count = rows.count;
        let vectors = op.layout.vectors_len();
        let scratch = Scratch::new(&mut *self.scratch, op, count);
        Step {
            rows,
            gates: &mut self.gates[rows.range(rows.gates, units)],
            sums: part(self.sums, rows.range(rows.gates, units)),
            output: &mut self.output[rows.range(rows.first, op.state)],
            h: &mut self.h[..count * op.state],
            c: part(self.c, 0..count * op.hidden),
            vectors: part(self.vectors, 0..count * vectors),
            scratch,
        }
    }
}

/// The gradients of a step, one row for each running sequence.
pub(super) struct Step<'a> {
    pub(super) rows: StepRows,
    /// Pre-activations in, their gradients out.
    pub(super) gates: &'a mut [f32],
    /// With whole-row normalisation: raw recurrent products in, their gradients out.
    pub(super) sums: &'a mut [f32],
    output: &'a mut [f32],
    h: &'a mut [f32],
    pub(super) c: &'a mut [f32],
    pub(super) vectors: &'a mut [f32],
    pub(super) scratch: Scratch<'a>,
}

/// Scratch space of a step.
pub(super) struct Scratch<'a> {
    /// Gradient of the cell's output before a projection, `[count, hidden]`.
    pub(super) d_m: &'a mut [f32],
    /// A matrix product's result, `[count, state or hidden]`.
    product: &'a mut [f32],
    /// The cell's own rows, `[count, cell_width]`.
    pub(super) cell: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    fn width(op: &Recurrence) -> usize {
        let sizes = [op.hidden, Self::product_width(op), Self::cell_width(op)];
        sizes.into_iter().fold(0, usize::saturating_add)
    }

    fn product_width(op: &Recurrence) -> usize {
        op.state.max(op.hidden)
    }

    /// A row of gates, and for the LSTM four rows of the cell.
    pub(super) fn cell_width(op: &Recurrence) -> usize {
        elements(&[op.hidden, op.layout.slots + 4])
    }

    fn new(scratch: &'a mut [f32], op: &Recurrence, count: usize) -> Self {
        let (d_m, rest) = scratch.split_at_mut(count * op.hidden);
        let (product, rest) = rest.split_at_mut(count * Self::product_width(op));
        Self {
            d_m,
            product,
            cell: &mut rest[..count * Self::cell_width(op)],
        }
    }
}

impl Layer<'_> {
    fn backward(&self, states: &States<'_>, mut gradients: Gradients<'_>) {
        for step in self.op.steps.clone().rev() {
            let mut step = gradients.step(self.op, StepRows::new(self.op, step));
            self.enter(states, &mut step);
            match self.spec().cell {
                Cell::Elman => self.elman_backward(&mut step),
                Cell::Lstm => self.lstm_backward(states, &mut step),
                Cell::Gru => self.gru_backward(states, &mut step),
            }
            self.recurrent_product_backward(&mut step);
        }
    }

    /// From the gradient of the state after the step to that of the cell's output (`d_m`); what zoneout passes straight to
    /// the state before stays in `h`.
    fn enter(&self, states: &States<'_>, step: &mut Step<'_>) {
        let (spec, op, at) = (self.spec(), self.op, step.rows.step);
        let (state, count) = (op.state, step.rows.count);
        let projects = spec.projection.is_some();
        let clips = projects && spec.clip.projection.is_some();
        if clips {
            let second = &states.second[step.rows.range(step.rows.first, op.hidden)];
            self.project(second, &mut step.scratch.product[..count * state]);
        }
        let projected = &step.scratch.product[..count * state];
        let d_m = if projects {
            &mut [][..]
        } else {
            &mut *step.scratch.d_m
        };
        let lanes = [
            Lane::new(step.h, state),
            Lane::new(step.output, state),
            Lane::new(d_m, state),
        ];
        for_lanes(lanes, count, state * 16, &|b, [h, output, d_m]| {
            for unit in 0..state {
                let d = h[unit] + output[unit];
                let purpose = RandomPurpose::ZoneoutHidden;
                let [d_old, mut d_new] = self.zoneout_gradient(purpose, (b, at), unit, d);
                h[unit] = d_old;
                if clips {
                    let bias = self.weights.projection_bias.get(unit).unwrap_or(&0.0);
                    let value = projected[b * state + unit] + bias;
                    let clipped = |[value]: [_; 1]| [clip(value, spec.clip.projection)];
                    [d_new] = pullback(clipped, [value], [d_new]).1;
                }
                match projects {
                    true => output[unit] = d_new,
                    false => d_m[unit] = d_new,
                }
            }
        });
        if projects {
            let sizes = [count, op.hidden, state];
            let output = View::rows(step.output, state);
            let weights = View::rows(self.weights.second_transposed, op.hidden);
            matrix_product(
                sizes,
                output,
                weights,
                step.scratch.d_m,
                [op.hidden, 1],
                false,
            );
        }
    }

    fn elman_backward(&self, step: &mut Step<'_>) {
        let (spec, activations, hidden) = (self.spec(), self.activations(), self.op.hidden);
        let d_m = &*step.scratch.d_m;
        let lanes = [Lane::new(step.gates, hidden)];
        for_lanes(lanes, step.rows.count, hidden * UNIT_COST / 4, &|b,
                                                                    [
            gates,
        ]| {
            for (gate, &d) in gates.iter_mut().zip(row(d_m, b, hidden)) {
                let unit = |[pre]: [_; 1]| [elman_unit(spec, activations, pre)];
                [*gate] = pullback(unit, [*gate], [d]).1;
            }
        });
    }

    fn gru_backward(&self, states: &States<'_>, step: &mut Step<'_>) {
        match self.spec().reset {
            GruReset::After => self.gru_after_backward(states, step),
            GruReset::Before => {
                self.gru_before_backward(states, step);
                self.gru_reset_backward(states, step);
            }
        }
    }

    fn gru_after_backward(&self, states: &States<'_>, step: &mut Step<'_>) {
        let (spec, activations) = (self.spec(), self.activations());
        let (hidden, units) = (self.op.hidden, self.units());
        let whole = spec.is_whole_norm();
        let h_previous = &states.h[step.rows.range(step.rows.previous, hidden)];
        let d_m = &*step.scratch.d_m;
        let lanes = [
            Lane::new(step.gates, units),
            Lane::new(step.sums, units),
            Lane::new(step.h, hidden),
            Lane::new(step.vectors, self.op.layout.vectors_len()),
            Lane::new(step.scratch.cell, Scratch::cell_width(self.op)),
        ];
        let work = |b: usize, [gates, sums, d_h, vectors, scratch]: [&mut [f32]; 5]| {
            let pre = &mut scratch[..units];
            let deviation = match whole {
                true => self.gru_gates(sums, gates, pre),
                false => {
                    pre.copy_from_slice(gates);
                    1.0
                }
            };
            let (h_previous, d_m) = (row(h_previous, b, hidden), row(d_m, b, hidden));
            for unit in 0..hidden {
                let [r, z, n, q] = unit_slots(pre, unit);
                let cell =
                    |[r, z, n, q, h]: [_; 5]| [gru_after(spec, activations, [r, z, n, q], h)];
                let inputs = [r, z, n, q, h_previous[unit]];
                let [d_pre @ .., d_old] = pullback(cell, inputs, [d_m[unit]]).1;
                gates[unit * SLOTS..][..SLOTS].copy_from_slice(&d_pre);
                d_h[unit] += d_old;
            }
            if whole {
                self.recurrent_norm_backward(gates, sums, deviation, vectors);
            }
        };
        for_lanes(lanes, step.rows.count, hidden * UNIT_COST, &work);
    }

    /// Back through the normalisation of the recurrent products: `sums` goes from the normalised products to the gradient of
    /// the raw ones, given that of what enters the activations.
    pub(super) fn recurrent_norm_backward(
        &self,
        d_pre: &[f32],
        sums: &mut [f32],
        deviation: f32,
        vectors: &mut [f32],
    ) {
        let layout = &self.op.layout;
        let slots = recurrent_slots(self.spec().cell, layout.slots);
        if !vectors.is_empty() {
            let at = layout.norm_recurrent - layout.vectors;
            for (index, sum) in vectors[at..at + sums.len()].iter_mut().enumerate() {
                if slots.has(index) {
                    *sum += d_pre[index] * sums[index];
                }
            }
        }
        let scales = self.weights.norm_recurrent;
        normalisation_gradient(sums, slots, deviation, |index| scales[index] * d_pre[index]);
        for (index, sum) in sums.iter_mut().enumerate() {
            if !slots.has(index) {
                *sum = 0.0;
            }
        }
    }

    /// Reset before the product, second stage: the gradients of `z` and `n`; `r` stays for the first stage.
    fn gru_before_backward(&self, states: &States<'_>, step: &mut Step<'_>) {
        let (spec, activations) = (self.spec(), self.activations());
        let (hidden, units) = (self.op.hidden, self.units());
        let h_previous = &states.h[step.rows.range(step.rows.previous, hidden)];
        let d_m = &*step.scratch.d_m;
        let lanes = [Lane::new(step.gates, units), Lane::new(step.h, hidden)];
        for_lanes(lanes, step.rows.count, hidden * UNIT_COST, &|b,
                                                                [
            gates,
            d_h,
        ]| {
            let (h_previous, d_m) = (row(h_previous, b, hidden), row(d_m, b, hidden));
            for unit in 0..hidden {
                let gates = &mut gates[unit * SLOTS..][..SLOTS];
                let cell = |[z, n, h]: [_; 3]| [gru_before(spec, activations, [z, n], h)];
                let inputs = [gates[1], gates[CANDIDATE_SLOT], h_previous[unit]];
                let [d_z, d_n, d_old] = pullback(cell, inputs, [d_m[unit]]).1;
                gates[1..].copy_from_slice(&[d_z, d_n, 0.0]);
                d_h[unit] += d_old;
            }
        });
    }

    /// Reset before the product, first stage: back through the candidate's product to the reset gate and the state.
    fn gru_reset_backward(&self, states: &States<'_>, step: &mut Step<'_>) {
        let (spec, activations) = (self.spec(), self.activations());
        let (hidden, units, count) = (self.op.hidden, self.units(), step.rows.count);
        let d_v = &mut step.scratch.product[..count * hidden];
        let d_candidate = View {
            values: &step.gates[CANDIDATE_SLOT..],
            strides: [units, SLOTS],
        };
        let weights = View::rows(self.weights.second_transposed, hidden);
        let sizes = [count, hidden, hidden];
        matrix_product(sizes, d_candidate, weights, d_v, [hidden, 1], false);
        let (u, d_v) = (
            &states.u[step.rows.range(step.rows.previous, hidden)],
            &*d_v,
        );
        let lanes = [Lane::new(step.gates, units), Lane::new(step.h, hidden)];
        for_lanes(lanes, count, hidden * UNIT_COST / 4, &|b, [gates, d_h]| {
            let (u, d_v, mask) = (row(u, b, hidden), row(d_v, b, hidden), self.mask_row(b));
            for unit in 0..hidden {
                let reset = |[r, u]: [_; 2]| [gru_reset(spec, activations, r, u)];
                let inputs = [gates[unit * SLOTS], u[unit]];
                let [d_r, d_u] = pullback(reset, inputs, [d_v[unit]]).1;
                gates[unit * SLOTS] = d_r;
                d_h[unit] += d_u * mask.map_or(1.0, |mask| mask[unit]);
            }
        });
    }

    /// Adds what comes back through the recurrent product to the gradient of the state before the step.
    fn recurrent_product_backward(&self, step: &mut Step<'_>) {
        let (units, state, count) = (self.units(), self.op.state, step.rows.count);
        let d_products = match self.spec().is_whole_norm() {
            true => &*step.sums,
            false => &*step.gates,
        };
        let d_products = View::rows(d_products, units);
        // The transpose of `[state, units]`.
        let weights = View::columns(self.weights.recurrent, units);
        let sizes = [count, state, units];
        if self.mask.is_empty() {
            return matrix_product(sizes, d_products, weights, step.h, [state, 1], true);
        }
        let product = &mut step.scratch.product[..count * state];
        matrix_product(sizes, d_products, weights, product, [state, 1], false);
        // Rows of the mask lie like the rows of the gradient: both by sorted sequence.
        for ((d_h, product), mask) in step.h.iter_mut().zip(product).zip(self.mask) {
            *d_h += *product * mask;
        }
    }
}
