//! The backward of a tile, last step first.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::products::{DirectionPanels, StagedPanels, recurrent_slots};
use super::{CANDIDATE, recurrent_group, row, row_mut};
use crate::cell::{Dual, clip, elman_unit, gru_after, gru_before, gru_reset, inputs, mix, pull};
use crate::config::{Cell, GruReset};
use crate::cpu::access::elements;
use crate::cpu::recurrence::Layer;
use crate::cpu::row_norm::{Moments, Sums, means};
use crate::cpu::row_product::WholeRows;
use crate::cpu::simd::SLOTS;
use crate::cpu::tile::{BackwardRows, BackwardStep, tile_size};
use crate::cpu::vector::{Units, Vector};
use crate::ops::{RandomPurpose, Recurrence};

/// What the backward of one direction reads, as the forward left it; what a cell does not have is empty.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Given<'a> {
    /// `[batch + tokens, state]`
    pub(in crate::cpu) h: &'a [f32],
    /// What entered the recurrent product, in the same shape.
    pub(in crate::cpu) u: &'a [f32],
    /// `[batch + tokens, hidden]`
    pub(in crate::cpu) c: &'a [f32],
    /// `[tokens, hidden]`
    pub(in crate::cpu) second: &'a [f32],
}

/// Elements of scratch space of a sequence with vectors of `lanes` elements.
pub(in crate::cpu) fn scratch_width(op: &Recurrence, lanes: usize) -> usize {
    let sizes = [
        op.hidden,
        product_width(op),
        plane_width(op, lanes),
        cell_width(op),
    ];
    sizes.into_iter().fold(0, usize::saturating_add)
}

/// Of a product's result.
fn product_width(op: &Recurrence) -> usize {
    op.state.max(op.hidden)
}

/// Of the recurrent products' gradients, slot by slot, of each all units in whole vectors.
fn plane_width(op: &Recurrence, lanes: usize) -> usize {
    elements(&[recurrent_slots(op).len(), op.hidden.next_multiple_of(lanes)])
}

/// Of the cell's own rows: a row of gates, and for the LSTM two rows of the cell.
fn cell_width(op: &Recurrence) -> usize {
    elements(&[op.hidden, op.layout.slots + 2])
}

/// All steps of one direction.
pub(in crate::cpu) fn backward(
    layer: &Layer<'_>,
    panels: &StagedPanels,
    given: Given<'_>,
    rows: BackwardRows<'_>,
) {
    let panels = &panels.directions[layer.direction];
    let lanes = panels.recurrent.lanes();
    rows.for_tiles(layer.op, tile_size(layer.op, 0), &|mut tile| {
        for at in tile.steps().rev() {
            let Some(mut rows) = tile.step(at) else {
                continue;
            };
            let scratch = std::mem::take(&mut rows.products);
            let mut step = Step {
                layer,
                panels,
                given,
                at,
                lanes,
                scratch: Scratch::new(scratch, layer.op, (rows.count, lanes)),
                rows,
            };
            step.backward();
        }
    });
}

/// A step of a tile.
struct Step<'a> {
    layer: &'a Layer<'a>,
    panels: &'a DirectionPanels,
    given: Given<'a>,
    at: usize,
    lanes: usize,
    scratch: Scratch<'a>,
    rows: BackwardStep<'a>,
}

impl Step<'_> {
    /// Stage by stage.
    fn backward(&mut self) {
        let spec = self.layer.spec();
        if spec.projection.is_some() && spec.clip.projection.is_some() {
            self.projected_again();
        }
        self.units::<Enter>();
        if spec.projection.is_some() {
            self.projection();
        }
        if spec.cell == Cell::Lstm {
            self.units::<EnterCell>();
        }
        match (spec.cell, spec.reset) {
            (Cell::Elman, _) => self.units::<Elman>(),
            (Cell::Lstm, _) if spec.is_whole_norm() => self.units::<LstmWholeNorm>(),
            (Cell::Lstm, _) if spec.is_per_gate_norm() => self.units::<LstmGateNorm>(),
            (Cell::Lstm, _) if spec.peephole.is_some() => self.units::<LstmPeephole>(),
            (Cell::Lstm, _) => self.units::<Lstm>(),
            (Cell::Gru, GruReset::After) => self.units::<GruAfter>(),
            (Cell::Gru, GruReset::Before) => {
                self.units::<GruBefore>();
                self.candidate_product();
                self.units::<ResetGate>();
            }
        }
        self.recurrent_product();
    }

    /// A stage's arithmetic.
    fn units<P: Part>(&mut self) {
        let part = PhantomData::<P>;
        self.panels.recurrent.dispatch(Work { step: self, part });
    }

    /// The projection's products, which its clip looks at.
    fn projected_again(&mut self) {
        let (op, count) = (self.layer.op, self.rows.count);
        let second = &self.given.second[self.rows.row * op.hidden..][..count * op.hidden];
        let products = &mut self.scratch.product[..count * op.state];
        let product = whole_rows(second, count, op.hidden, op.state);
        product.compute(self.panels.second.as_ref(), products);
    }

    /// Back through the projection.
    fn projection(&mut self) {
        let op = self.layer.op;
        let product = whole_rows(self.rows.output, self.rows.count, op.state, op.hidden);
        product.compute(self.panels.second_back.as_ref(), self.scratch.d_m);
    }

    /// Back through the product of a GRU's candidate.
    fn candidate_product(&mut self) {
        let (hidden, count) = (self.layer.op.hidden, self.rows.count);
        let product = whole_rows(&self.scratch.cell[..count * hidden], count, hidden, hidden);
        let d_v = &mut self.scratch.product[..count * hidden];
        product.compute(self.panels.second_back.as_ref(), d_v);
    }

    /// Adds what comes back through the recurrent product to the gradient of the state before the step.
    fn recurrent_product(&mut self) {
        let (op, count) = (self.layer.op, self.rows.count);
        let width = plane_width(op, self.lanes);
        let product = whole_rows(self.scratch.planes, count, width, op.state);
        let panels = self.panels.recurrent_back.as_ref();
        if self.layer.mask.is_empty() {
            let added = WholeRows {
                replace: false,
                ..product
            };
            return added.compute(panels, self.rows.d_h);
        }
        let products = &mut self.scratch.product[..count * op.state];
        product.compute(panels, products);
        self.units::<Unmask>();
    }
}

/// Arithmetic of units, code of its own for each instruction set: one function of all of it would take minutes to compile.
trait Part {
    fn run<S: Simd>(
        backward: Backward<'_, S>,
        step: &mut BackwardStep<'_>,
        scratch: &mut Scratch<'_>,
    );
}

struct Work<'w, 'a, P> {
    step: &'w mut Step<'a>,
    part: PhantomData<P>,
}

impl<P: Part> WithSimd for Work<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let step = self.step;
        let backward = Backward {
            simd,
            layer: step.layer,
            given: step.given,
            at: step.at,
        };
        P::run(backward, &mut step.rows, &mut step.scratch);
    }
}

macro_rules! parts {
    ($($part:ident => $method:ident),*) => {$(
        struct $part;
        impl Part for $part {
            #[inline(always)]
            fn run<S: Simd>(
                backward: Backward<'_, S>,
                step: &mut BackwardStep<'_>,
                scratch: &mut Scratch<'_>,
            ) {
                backward.$method(step, scratch);
            }
        }
    )*};
}
parts!(
    Enter => enter,
    EnterCell => enter_cell,
    Elman => elman,
    Lstm => lstm,
    LstmPeephole => lstm_peephole,
    LstmWholeNorm => lstm_whole_norm,
    LstmGateNorm => lstm_gate_norm,
    GruAfter => gru_after,
    GruBefore => gru_before,
    ResetGate => gru_reset,
    Unmask => unmask
);

/// What a step works in, a row for each running sequence.
pub(super) struct Scratch<'a> {
    /// Gradient of the cell's output before a projection, `[count, hidden]`.
    pub(super) d_m: &'a mut [f32],
    /// A product's result, `[count, state or hidden]`.
    product: &'a mut [f32],
    /// Gradients of the recurrent products, slot by slot.
    pub(super) planes: &'a mut [f32],
    /// The cell's own rows.
    pub(super) cell: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    #[inline(always)]
    fn new(scratch: &'a mut [f32], op: &Recurrence, (count, lanes): (usize, usize)) -> Self {
        let (d_m, rest) = scratch.split_at_mut(count * op.hidden);
        let (product, rest) = rest.split_at_mut(count * product_width(op));
        let (planes, rest) = rest.split_at_mut(count * plane_width(op, lanes));
        Self {
            d_m,
            product,
            planes,
            cell: &mut rest[..count * cell_width(op)],
        }
    }
}

/// A step on vectors.
pub(super) struct Backward<'a, S> {
    pub(super) simd: S,
    pub(super) layer: &'a Layer<'a>,
    pub(super) given: Given<'a>,
    pub(super) at: usize,
}

impl<S: Simd> Backward<'_, S> {
    /// From the gradient of the state after the step to that of the cell's output; what zoneout passes straight to the state
    /// before stays in `d_h`.
    #[inline(always)]
    fn enter(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        let (layer, simd, state) = (self.layer, self.simd, self.layer.op.state);
        let spec = layer.spec();
        let projects = spec.projection.is_some();
        let clips = projects && spec.clip.projection.is_some();
        for b in 0..step.count {
            let (d_h, output) = (row_mut(step.d_h, b, state), row_mut(step.output, b, state));
            let place = (step.sequence + b, self.at);
            for units in Units::of_row(simd, state) {
                let d = units.load(d_h) + units.load(output);
                let purpose = RandomPurpose::ZoneoutHidden;
                let [d_old, mut d_new] = self.zoneout(purpose, place, units, d);
                units.store(d_h, d_old);
                if clips {
                    let bias = units.load_optional(layer.weights.projection_bias);
                    let [value] = inputs([units.load(row(scratch.product, b, state)) + bias]);
                    [d_new] = pull([clip(value, spec.clip.projection)], [d_new]);
                }
                match projects {
                    true => units.store(output, d_new),
                    false => units.store(row_mut(scratch.d_m, b, state), d_new),
                }
            }
        }
    }

    /// The gradients of the old and the new state from that of the two blended.
    #[inline(always)]
    pub(super) fn zoneout(
        &self,
        purpose: RandomPurpose,
        place: (usize, usize),
        units: Units<S>,
        d: Vector<S>,
    ) -> [Vector<S>; 2] {
        let zero = Vector::splat(self.simd, 0.0);
        if self.layer.zoneout_probability(purpose) == 0.0 {
            return [zero, d];
        }
        let kept = Dual::fixed(self.layer.kept(purpose, place, units));
        // Linear in both, whose values therefore do not matter.
        let [old, new] = inputs([zero; 2]);
        pull([mix(kept, old, new)], [d])
    }

    #[inline(always)]
    fn elman(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        let (layer, hidden) = (self.layer, self.layer.op.hidden);
        for b in 0..step.count {
            let (gates, d_m) = (row_mut(step.gates, b, hidden), row(scratch.d_m, b, hidden));
            let planes = self.planes(scratch.planes, b);
            for units in Units::of_row(self.simd, hidden) {
                let [pre] = inputs([units.load(gates)]);
                let unit = elman_unit(layer.spec(), layer.activations(), pre);
                let [d] = pull([unit], [units.load(d_m)]);
                units.store(gates, d);
                units.store_whole(planes, d);
            }
        }
    }

    #[inline(always)]
    fn gru_after(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        let (layer, simd) = (self.layer, self.simd);
        let (spec, activations) = (layer.spec(), layer.activations());
        let (hidden, width) = (layer.op.hidden, layer.units());
        let whole = spec.is_whole_norm();
        for b in 0..step.count {
            let gates = row_mut(step.gates, b, width);
            let sums = row_mut(step.sums, b, width);
            let (d_m, d_h) = (row(scratch.d_m, b, hidden), row_mut(step.d_h, b, hidden));
            let old = row(self.given.h, step.previous + b, hidden);
            let planes = self.planes(scratch.planes, b);
            let kind = (hidden, recurrent_group(Cell::Gru), layer.epsilon());
            let norm = match whole {
                true => Some(Moments::of_slots(simd, sums, kind)),
                false => None,
            };
            for units in Units::of_row(simd, hidden) {
                let mut pre = units.load_slots(gates);
                if let Some(norm) = &norm {
                    let scales = units.load_slots(layer.weights.norm_recurrent);
                    let mut sums = units.load_slots(sums);
                    for slot in [0, 1, 3] {
                        sums[slot] = norm.normalised(slot, sums[slot]);
                        pre[slot] = pre[slot] + scales[slot] * sums[slot];
                    }
                }
                let [r, z, n, q] = pre;
                let [r, z, n, q, h] = inputs([r, z, n, q, units.load(old)]);
                let new = gru_after(spec, activations, [r, z, n, q], h);
                let [r, z, n, q, d_old] = pull([new], [units.load(d_m)]);
                units.store_slots(gates, [r, z, n, q]);
                units.add(d_h, d_old);
                if !whole {
                    self.store_planes(units, planes, [r, z, q]);
                }
            }
            if let Some(norm) = &norm {
                let vectors = row_mut(step.vectors, b, layer.op.layout.vectors_len());
                self.recurrent_norm(norm, gates, sums, vectors);
                for units in Units::of_row(simd, hidden) {
                    let [r, z, _, q] = units.load_slots(sums);
                    self.store_planes(units, planes, [r, z, q]);
                }
            }
        }
    }

    /// Back through the normalisation of the recurrent products: `sums` goes from the raw products to their gradient, given that
    /// of what enters the activations.
    #[inline(always)]
    pub(super) fn recurrent_norm(
        &self,
        norm: &Moments<S>,
        d_pre: &[f32],
        sums: &mut [f32],
        vectors: &mut [f32],
    ) {
        let (layer, simd, hidden) = (self.layer, self.simd, self.layer.op.hidden);
        let is_gru = layer.spec().cell == Cell::Gru;
        let zero = Vector::splat(simd, 0.0);
        let d_scales = self.vectors(vectors, layer.op.layout.norm_recurrent, sums.len());
        let mut totals = [Sums::new(simd); 2];
        for units in Units::of_row(simd, hidden) {
            let scales = units.load_slots(layer.weights.norm_recurrent);
            let (d_pre, mut sums) = (units.load_slots(d_pre), units.load_slots(sums));
            let (mut d, mut products) = (d_pre, d_pre);
            let mut d_scale = d_pre;
            for slot in 0..SLOTS {
                sums[slot] = norm.normalised(slot, sums[slot]);
                d_scale[slot] = d_pre[slot] * sums[slot];
                d[slot] = scales[slot] * d_pre[slot];
                products[slot] = d[slot] * sums[slot];
            }
            if is_gru {
                d_scale[CANDIDATE] = zero;
            }
            units.add_slots(d_scales, d_scale);
            totals[0].add(units, d);
            totals[1].add(units, products);
        }
        let group = recurrent_group(layer.spec().cell);
        let means = means(totals, group, hidden);
        for units in Units::of_row(simd, hidden) {
            let scales = units.load_slots(layer.weights.norm_recurrent);
            let (d_pre, mut slots) = (units.load_slots(d_pre), units.load_slots(sums));
            for slot in 0..SLOTS {
                let normalised = norm.normalised(slot, slots[slot]);
                let d = scales[slot] * d_pre[slot];
                slots[slot] = norm.gradient(slot, [normalised, d], means);
            }
            if is_gru {
                slots[CANDIDATE] = zero;
            }
            units.store_slots(sums, slots);
        }
    }

    /// Reset before the product, second stage: the gradients of `z` and `n`; `r` stays for the first stage.
    #[inline(always)]
    fn gru_before(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        let layer = self.layer;
        let (spec, activations) = (layer.spec(), layer.activations());
        let (hidden, width) = (layer.op.hidden, layer.units());
        for b in 0..step.count {
            let gates = row_mut(step.gates, b, width);
            let (d_m, d_h) = (row(scratch.d_m, b, hidden), row_mut(step.d_h, b, hidden));
            let old = row(self.given.h, step.previous + b, hidden);
            let candidates = row_mut(scratch.cell, b, hidden);
            for units in Units::of_row(self.simd, hidden) {
                let [r, z, n, _] = units.load_slots(gates);
                let [z, n, h] = inputs([z, n, units.load(old)]);
                let new = gru_before(spec, activations, [z, n], h);
                let [z, n, d_old] = pull([new], [units.load(d_m)]);
                units.store_slots(gates, [r, z, n, Vector::splat(self.simd, 0.0)]);
                units.store(candidates, n);
                units.add(d_h, d_old);
            }
        }
    }

    /// Reset before the product, first stage: back through the candidate's product to the reset gate and the state.
    #[inline(always)]
    fn gru_reset(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        let layer = self.layer;
        let (spec, activations) = (layer.spec(), layer.activations());
        let (hidden, width) = (layer.op.hidden, layer.units());
        for b in 0..step.count {
            let gates = row_mut(step.gates, b, width);
            let d_v = row(scratch.product, b, hidden);
            let d_h = row_mut(step.d_h, b, hidden);
            let u = row(self.given.u, step.previous + b, hidden);
            let mask = layer.mask_row(step.sequence + b);
            let planes = self.planes(scratch.planes, b);
            for units in Units::of_row(self.simd, hidden) {
                let [r, z, n, q] = units.load_slots(gates);
                let [r, u] = inputs([r, units.load(u)]);
                let reset = gru_reset(spec, activations, r, u);
                let [r, mut d_u] = pull([reset], [units.load(d_v)]);
                units.store_slots(gates, [r, z, n, q]);
                if let Some(mask) = mask {
                    d_u = d_u * units.load(mask);
                }
                units.add(d_h, d_u);
                self.store_planes(units, planes, [r, z]);
            }
        }
    }

    /// Adds the masked products to the gradient of the state before the step.
    #[inline(always)]
    fn unmask(&self, step: &mut BackwardStep<'_>, scratch: &mut Scratch<'_>) {
        let state = self.layer.op.state;
        for b in 0..step.count {
            let Some(mask) = self.layer.mask_row(step.sequence + b) else {
                continue;
            };
            let (product, d_h) = (row(scratch.product, b, state), row_mut(step.d_h, b, state));
            for units in Units::of_row(self.simd, state) {
                units.add(d_h, units.load(product) * units.load(mask));
            }
        }
    }

    /// The gradients of a sequence's recurrent products.
    #[inline(always)]
    pub(super) fn planes<'p>(&self, planes: &'p mut [f32], b: usize) -> &'p mut [f32] {
        row_mut(planes, b, plane_width(self.layer.op, S::F32_LANES))
    }

    #[inline(always)]
    pub(super) fn store_planes<const V: usize>(
        &self,
        units: Units<S>,
        planes: &mut [f32],
        slots: [Vector<S>; V],
    ) {
        let whole = planes.len() / V;
        for v in 0..V {
            units.store_whole(&mut planes[v * whole..(v + 1) * whole], slots[v]);
        }
    }

    /// The sums of a part's gradients of the packed vectors, if they are wanted.
    #[inline(always)]
    pub(super) fn vectors<'v>(
        &self,
        vectors: &'v mut [f32],
        part: usize,
        len: usize,
    ) -> &'v mut [f32] {
        match vectors.is_empty() {
            true => vectors,
            false => &mut vectors[part - self.layer.op.layout.vectors..][..len],
        }
    }
}

/// A product of contiguous rows that replaces what is there.
fn whole_rows(rows: &[f32], count: usize, width: usize, columns: usize) -> WholeRows<'_> {
    WholeRows {
        rows,
        width,
        count,
        columns,
        replace: true,
    }
}
