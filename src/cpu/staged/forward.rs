//! The forward of a tile.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::products::{DirectionPanels, StagedPanels, UnitProduct, recurrent_slots};
use super::{CANDIDATE, recurrent_group, row, row_mut};
use crate::cell::{clip, elman_unit, gru_after, gru_before, gru_reset, mix};
use crate::config::{Cell, GruReset};
use crate::cpu::access::elements;
use crate::cpu::recurrence::Layer;
use crate::cpu::row_norm::Moments;
use crate::cpu::row_product::WholeRows;
use crate::cpu::tile::{ForwardRows, ForwardStep, tile_size};
use crate::cpu::vector::Units;
use crate::ops::{RandomPurpose, Recurrence};

/// Elements of scratch space of a sequence: a row of gates.
pub(in crate::cpu) fn scratch_width(op: &Recurrence) -> usize {
    elements(&[op.hidden, op.layout.slots])
}

/// All steps of one direction.
pub(in crate::cpu) fn forward(layer: &Layer<'_>, panels: &StagedPanels, rows: ForwardRows<'_>) {
    let panels = &panels.directions[layer.direction];
    rows.for_tiles(layer.op, tile_size(layer.op, 0), &|mut tile| {
        for at in tile.steps() {
            let Some(rows) = tile.step(at) else {
                // Sequences are sorted: later steps have none of this tile's either.
                break;
            };
            let mut step = Step {
                layer,
                panels,
                at,
                rows,
            };
            step.forward();
        }
    });
}

/// A step of a tile.
struct Step<'a> {
    layer: &'a Layer<'a>,
    panels: &'a DirectionPanels,
    at: usize,
    rows: ForwardStep<'a>,
}

impl Step<'_> {
    /// Stage by stage.
    fn forward(&mut self) {
        let spec = self.layer.spec();
        self.recurrent_product();
        match (spec.cell, spec.reset) {
            (Cell::Elman, _) => self.units::<Elman>(),
            (Cell::Lstm, _) if spec.is_whole_norm() => self.units::<LstmWholeNorm>(),
            (Cell::Lstm, _) if spec.is_per_gate_norm() => self.units::<LstmGateNorm>(),
            (Cell::Lstm, _) => self.units::<Lstm>(),
            (Cell::Gru, GruReset::After) => self.units::<GruAfter>(),
            (Cell::Gru, GruReset::Before) => {
                self.units::<ResetGate>();
                self.second_product();
                self.units::<GruBefore>();
            }
        }
        if spec.projection.is_some() {
            self.second_product();
        }
        let zones_out = spec.zoneout.hidden > 0.0 || spec.zoneout.cell > 0.0;
        if spec.projection.is_some() || zones_out || !self.layer.mask.is_empty() {
            self.units::<Finish>();
        }
    }

    /// A stage's arithmetic.
    fn units<P: Part>(&mut self) {
        let part = PhantomData::<P>;
        self.panels.recurrent.dispatch(Work { step: self, part });
    }

    /// Adds the recurrent products to the gates, or leaves them apart to be normalised.
    fn recurrent_product(&mut self) {
        let (op, rows) = (self.layer.op, &mut self.rows);
        let apart = op.spec.is_whole_norm();
        let product = UnitProduct {
            slots: recurrent_slots(op),
            rows: entering(rows),
            terms: op.state,
            count: rows.count,
            hidden: op.hidden,
            replace: apart,
        };
        let target = if apart {
            &mut *rows.sums
        } else {
            &mut *rows.gates
        };
        product.compute(&self.panels.recurrent, target);
    }

    /// The product of what entered the second one: a GRU's into the scratch space, a projection's into the states.
    fn second_product(&mut self) {
        let (layout, rows) = (&self.layer.op.layout, &mut self.rows);
        let product = WholeRows {
            rows: rows.second,
            width: layout.second_inputs,
            count: rows.count,
            columns: layout.second_outputs,
            replace: true,
        };
        let target = match self.layer.spec().projection {
            Some(_) => &mut *rows.h,
            None => &mut rows.scratch[..rows.count * layout.second_outputs],
        };
        product.compute(self.panels.second.as_ref(), target);
    }
}

/// Arithmetic of units, code of its own for each instruction set: one function of all of it would take minutes to compile.
trait Part {
    fn run<S: Simd>(forward: Forward<'_, S>, step: &mut ForwardStep<'_>);
}

struct Work<'w, 'a, P> {
    step: &'w mut Step<'a>,
    part: PhantomData<P>,
}

impl<P: Part> WithSimd for Work<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let forward = Forward {
            simd,
            layer: self.step.layer,
            at: self.step.at,
        };
        P::run(forward, &mut self.step.rows);
    }
}

macro_rules! parts {
    ($($part:ident => $method:ident),*) => {$(
        struct $part;
        impl Part for $part {
            #[inline(always)]
            fn run<S: Simd>(forward: Forward<'_, S>, step: &mut ForwardStep<'_>) {
                forward.$method(step);
            }
        }
    )*};
}
parts!(
    Elman => elman,
    Lstm => lstm,
    LstmWholeNorm => lstm_whole_norm,
    LstmGateNorm => lstm_gate_norm,
    GruAfter => gru_after,
    ResetGate => gru_reset,
    GruBefore => gru_before,
    Finish => finish
);

/// A step on vectors.
pub(super) struct Forward<'a, S> {
    pub(super) simd: S,
    pub(super) layer: &'a Layer<'a>,
    at: usize,
}

impl<S: Simd> Forward<'_, S> {
    #[inline(always)]
    fn elman(&self, step: &mut ForwardStep<'_>) {
        let (layer, hidden) = (self.layer, self.layer.op.hidden);
        for b in 0..step.count {
            let (pre, h) = (row(step.gates, b, hidden), row_mut(step.h, b, hidden));
            for units in Units::of_row(self.simd, hidden) {
                let new = elman_unit(layer.spec(), layer.activations(), units.load(pre));
                units.store(h, new);
            }
        }
    }

    #[inline(always)]
    fn gru_after(&self, step: &mut ForwardStep<'_>) {
        let layer = self.layer;
        let (spec, activations) = (layer.spec(), layer.activations());
        let (hidden, width) = (layer.op.hidden, layer.units());
        for b in 0..step.count {
            let (gates, sums) = (row(step.gates, b, width), row(step.sums, b, width));
            let old = row(step.h_previous, b, hidden);
            let h = row_mut(step.h, b, hidden);
            let kind = (hidden, recurrent_group(Cell::Gru), layer.epsilon());
            let norm = match spec.is_whole_norm() {
                true => Some(Moments::of_slots(self.simd, sums, kind)),
                false => None,
            };
            for units in Units::of_row(self.simd, hidden) {
                let mut pre = units.load_slots(gates);
                if let Some(norm) = &norm {
                    let scales = units.load_slots(layer.weights.norm_recurrent);
                    let sums = units.load_slots(sums);
                    for slot in [0, 1, 3] {
                        pre[slot] = pre[slot] + scales[slot] * norm.normalised(slot, sums[slot]);
                    }
                }
                units.store(h, gru_after(spec, activations, pre, units.load(old)));
            }
        }
    }

    /// Reset before the product, first stage: what enters the candidate's product.
    #[inline(always)]
    fn gru_reset(&self, step: &mut ForwardStep<'_>) {
        let layer = self.layer;
        let (spec, activations) = (layer.spec(), layer.activations());
        let (hidden, width) = (layer.op.hidden, layer.units());
        for b in 0..step.count {
            let (gates, u) = (row(step.gates, b, width), row(entering(step), b, hidden));
            let v = row_mut(step.second, b, hidden);
            for units in Units::of_row(self.simd, hidden) {
                let [r, ..] = units.load_slots(gates);
                units.store(v, gru_reset(spec, activations, r, units.load(u)));
            }
        }
    }

    /// Second stage, with the candidate's products in the scratch space.
    #[inline(always)]
    fn gru_before(&self, step: &mut ForwardStep<'_>) {
        let layer = self.layer;
        let (spec, activations) = (layer.spec(), layer.activations());
        let (hidden, width) = (layer.op.hidden, layer.units());
        for b in 0..step.count {
            let gates = row_mut(step.gates, b, width);
            let old = row(step.h_previous, b, hidden);
            let h = row_mut(step.h, b, hidden);
            let products = row(step.scratch, b, hidden);
            for units in Units::of_row(self.simd, hidden) {
                let mut pre = units.load_slots(gates);
                pre[CANDIDATE] = pre[CANDIDATE] + units.load(products);
                units.store_slots(gates, pre);
                let [_, z, n, _] = pre;
                let new = gru_before(spec, activations, [z, n], units.load(old));
                units.store(h, new);
            }
        }
    }

    /// The projection's bias and clip, zoneout, and recurrent dropout's mask.
    #[inline(always)]
    fn finish(&self, step: &mut ForwardStep<'_>) {
        let (layer, simd) = (self.layer, self.simd);
        let (spec, state, hidden) = (layer.spec(), layer.op.state, layer.op.hidden);
        if spec.projection.is_some() {
            for b in 0..step.count {
                let h = row_mut(step.h, b, state);
                for units in Units::of_row(simd, state) {
                    let bias = units.load_optional(layer.weights.projection_bias);
                    units.store(h, clip(units.load(h) + bias, spec.clip.projection));
                }
            }
        }
        for b in 0..step.count {
            let place = (step.sequence + b, self.at);
            let h = row_mut(step.h, b, state);
            if spec.zoneout.hidden > 0.0 {
                let old = row(step.h_previous, b, state);
                for units in Units::of_row(simd, state) {
                    let kept = layer.kept(RandomPurpose::ZoneoutHidden, place, units);
                    units.store(h, mix(kept, units.load(old), units.load(h)));
                }
            }
            if spec.zoneout.cell > 0.0 {
                let (old, c) = (row(step.c_previous, b, hidden), row_mut(step.c, b, hidden));
                for units in Units::of_row(simd, hidden) {
                    let kept = layer.kept(RandomPurpose::ZoneoutCell, place, units);
                    units.store(c, mix(kept, units.load(old), units.load(c)));
                }
            }
            if let Some(mask) = layer.mask_row(place.0) {
                let input = row_mut(step.input, b, state);
                for units in Units::of_row(simd, state) {
                    units.store(input, units.load(h) * units.load(mask));
                }
            }
        }
    }
}

/// What enters the recurrent products.
#[inline(always)]
fn entering<'a>(step: &ForwardStep<'a>) -> &'a [f32] {
    match step.input_previous.is_empty() {
        true => step.h_previous,
        false => step.input_previous,
    }
}
