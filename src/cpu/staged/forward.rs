//! The forward of a tile.

use pulp::{Simd, WithSimd};

use super::norm::Moments;
use super::products::{DirectionPanels, StagedPanels, UnitProduct, recurrent_slots};
use super::vector::Units;
use super::{CANDIDATE, recurrent_group, row, row_mut};
use crate::cell::{clip, elman_unit, gru_after, gru_before, gru_reset, mix};
use crate::config::{Cell, GruReset};
use crate::cpu::access::elements;
use crate::cpu::recurrence::Layer;
use crate::cpu::row_product::WholeRows;
use crate::cpu::tile::{ForwardRows, ForwardStep, Tile, tile_size};
use crate::ops::{RandomPurpose, Recurrence};

/// Elements of scratch space of a sequence: a row of gates.
pub(in crate::cpu) fn scratch_width(op: &Recurrence) -> usize {
    elements(&[op.hidden, op.layout.slots])
}

/// All steps of one direction.
pub(in crate::cpu) fn forward(layer: &Layer<'_>, panels: &StagedPanels, rows: ForwardRows<'_>) {
    let panels = &panels.directions[layer.direction];
    Tile::for_all(layer.op, rows, tile_size(layer.op, 0), &|tile| {
        (panels.recurrent).dispatch(Sweep {
            layer,
            panels,
            tile,
        });
    });
}

/// A tile on its way through the steps.
struct Sweep<'a> {
    layer: &'a Layer<'a>,
    panels: &'a DirectionPanels,
    tile: Tile<'a, ForwardRows<'a>>,
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let forward = Forward {
            simd,
            layer: self.layer,
            panels: self.panels,
        };
        for at in self.tile.steps() {
            let Some(mut step) = self.tile.step(at) else {
                // Sequences are sorted: later steps have none of this tile's either.
                break;
            };
            forward.recurrent_product(&mut step);
            match self.layer.spec().cell {
                Cell::Elman => forward.elman(&mut step),
                Cell::Lstm => forward.lstm(&mut step),
                Cell::Gru => forward.gru(&mut step),
            }
            forward.finish(&mut step, at);
        }
    }
}

/// What a step works with.
pub(super) struct Forward<'a, S> {
    pub(super) simd: S,
    pub(super) layer: &'a Layer<'a>,
    panels: &'a DirectionPanels,
}

impl<S: Simd> Forward<'_, S> {
    /// Adds the recurrent products to the gates, or leaves them apart to be normalised.
    #[inline(always)]
    fn recurrent_product(&self, step: &mut ForwardStep<'_>) {
        let op = self.layer.op;
        let apart = op.spec.is_whole_norm();
        let product = UnitProduct {
            slots: recurrent_slots(op),
            rows: entering(step),
            terms: op.state,
            count: step.count,
            hidden: op.hidden,
            replace: apart,
        };
        let target = if apart {
            &mut *step.sums
        } else {
            &mut *step.gates
        };
        product.compute(&self.panels.recurrent, target);
    }

    /// The product of what entered the second one, into whole rows.
    #[inline(always)]
    fn second_product(&self, rows: &[f32], count: usize, target: &mut [f32]) {
        let layout = &self.layer.op.layout;
        let product = WholeRows {
            rows,
            width: layout.second_inputs,
            count,
            columns: layout.second_outputs,
            replace: true,
        };
        product.compute(self.panels.second.as_ref(), target);
    }

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
    fn gru(&self, step: &mut ForwardStep<'_>) {
        match self.layer.spec().reset {
            GruReset::After => self.gru_after(step),
            GruReset::Before => self.gru_before(step),
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

    /// The reset gate and what enters the candidate's product, the product, and the new state.
    #[inline(always)]
    fn gru_before(&self, step: &mut ForwardStep<'_>) {
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
        let products = &mut step.scratch[..step.count * hidden];
        self.second_product(step.second, step.count, products);
        for b in 0..step.count {
            let gates = row_mut(step.gates, b, width);
            let old = row(step.h_previous, b, hidden);
            let h = row_mut(step.h, b, hidden);
            let products = row(products, b, hidden);
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

    /// The projection with its bias and clip, zoneout, and recurrent dropout's mask.
    #[inline(always)]
    fn finish(&self, step: &mut ForwardStep<'_>, at: usize) {
        let (layer, simd) = (self.layer, self.simd);
        let (spec, state, hidden) = (layer.spec(), layer.op.state, layer.op.hidden);
        if spec.projection.is_some() {
            self.second_product(step.second, step.count, step.h);
            for b in 0..step.count {
                let h = row_mut(step.h, b, state);
                for units in Units::of_row(simd, state) {
                    let bias = units.load_optional(layer.weights.projection_bias);
                    units.store(h, clip(units.load(h) + bias, spec.clip.projection));
                }
            }
        }
        for b in 0..step.count {
            let place = (step.sequence + b, at);
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
