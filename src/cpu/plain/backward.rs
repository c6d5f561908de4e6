//! The backward of a tile: in each step, last first, the gradients of all units, then what comes back through the recurrent
//! products.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::cells::{PlainCell, State};
use super::forward::{load_gates, store_gates};
use super::weights::{BACKWARD_VECTORS, most_product_width};
use super::{Kind, LayerPanels, tile_size, with_cell};
use crate::cpu::panels::{Panels, TERMS, for_row_groups, product};
use crate::cpu::simd::{load, load_all, store, store_all};
use crate::cpu::tile::{BackwardRows, BackwardStep, Tile};
use crate::ops::Recurrence;

/// What the backward of one direction reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Given<'a> {
    /// `[batch + tokens, hidden]`
    pub(in crate::cpu) h: &'a [f32],
    /// `[batch + tokens, hidden]`, or empty.
    pub(in crate::cpu) c: &'a [f32],
    /// `[tokens, hidden]`
    pub(in crate::cpu) d_output: &'a [f32],
    /// Whether the gates hold sums and not what the forward keeps.
    pub(in crate::cpu) rebuilt: bool,
}

/// Elements of scratch space that a sequence needs at most, whatever the instruction set.
pub(in crate::cpu) fn scratch_width(op: &Recurrence, kind: Kind) -> usize {
    with_cell!(kind, op, 0, cell => most_product_width(cell, op.hidden))
}

/// All steps of one direction.
pub(in crate::cpu) fn backward(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    panels: &LayerPanels,
    given: Given<'_>,
    rows: BackwardRows<'_>,
) {
    let panels = &panels.backward[direction];
    Tile::for_all(op, rows, tile_size(op, 0), &|tile| {
        with_cell!(kind, op, direction, cell => panels.dispatch(Sweep {
            cell,
            tile,
            panels,
            given,
            hidden: op.hidden,
            width: panels.terms(),
        }));
    });
}

/// A tile on its way back through the steps.
struct Sweep<'a, C, const V: usize> {
    cell: C,
    tile: Tile<'a, BackwardRows<'a>>,
    panels: &'a Panels,
    given: Given<'a>,
    hidden: usize,
    /// Elements of a sequence's products.
    width: usize,
}

impl<C: PlainCell<V>, const V: usize> WithSimd for Sweep<'_, C, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (hidden, width) = (self.hidden, self.width);
        for step in self.tile.steps().rev() {
            let Some(mut step) = self.tile.step(step) else {
                continue;
            };
            let units = Units {
                simd,
                cell: self.cell,
                given: self.given,
                hidden,
                width,
            };
            for row in 0..step.count {
                for first in (0..hidden).step_by(S::F32_LANES) {
                    units.compute(&mut step, row, first);
                }
            }
            // A block of a panel's terms stays in the nearest cache while all rows pass.
            for block in (0..width).step_by(TERMS) {
                for panel in 0..hidden.div_ceil(BACKWARD_VECTORS * S::F32_LANES) {
                    let columns = Columns {
                        simd,
                        panel: self.panels.panel::<S>(panel),
                        terms: block..width.min(block + TERMS),
                        hidden,
                        width,
                        first: panel * BACKWARD_VECTORS * S::F32_LANES,
                    };
                    for_row_groups!(S, step.count, row, R => columns.compute::<R>(&mut step, row));
                }
            }
        }
    }
}

/// The pointwise half.
struct Units<'a, S, C, const V: usize> {
    simd: S,
    cell: C,
    given: Given<'a>,
    hidden: usize,
    width: usize,
}

impl<S: Simd, C: PlainCell<V>, const V: usize> Units<'_, S, C, V> {
    /// One vector of units of one sequence.
    #[inline(always)]
    fn compute(&self, step: &mut BackwardStep<'_>, row: usize, first: usize) {
        let (simd, hidden, given) = (self.simd, self.hidden, &self.given);
        let end = hidden.min(first + S::F32_LANES);
        let of = |row: usize| row * hidden + first..row * hidden + end;
        let optional = |values: &[f32], row: usize| match values.get(of(row)) {
            Some(values) => load(simd, values),
            None => simd.splat_f32s(0.0),
        };
        let state = |row: usize| State {
            h: load(simd, &given.h[of(row)]),
            c: optional(given.c, row),
        };
        let gates = (row * hidden + first) * C::UNIT..(row * hidden + end) * C::UNIT;
        let mut kept = load_gates::<S, C, V>(simd, &step.gates[gates.clone()]);
        if given.rebuilt {
            kept = self.cell.activate(simd, kept);
        }
        let d_output = load(simd, &given.d_output[of(step.row + row)]);
        let d = State {
            h: simd.add_f32s(load(simd, &step.d_h[of(row)]), d_output),
            c: optional(step.d_c, row),
        };
        let states = [state(step.previous + row), state(step.next + row)];
        let back = self.cell.backward(simd, kept, states, d);
        store_gates::<S, C, V>(simd, &mut step.gates[gates], back.slots);
        store(simd, &mut step.d_h[of(row)], back.old.h);
        if let Some(d_c) = step.d_c.get_mut(of(row)) {
            store(simd, d_c, back.old.c);
        }
        let products = &mut step.products[row * self.width + first * V..];
        for v in 0..V {
            let place = &mut products[v * S::F32_LANES..(v + 1) * S::F32_LANES];
            store(simd, place, back.slots[C::PRODUCTS[v]]);
        }
    }
}

/// The product's half: some vectors of the states' gradient.
struct Columns<'a, S: Simd> {
    simd: S,
    panel: &'a [S::f32s],
    terms: Range<usize>,
    hidden: usize,
    width: usize,
    first: usize,
}

impl<S: Simd> Columns<'_, S> {
    /// Adds these terms for `R` sequences from `row` on.
    #[inline(always)]
    fn compute<const R: usize>(&self, step: &mut BackwardStep<'_>, row: usize) {
        let simd = self.simd;
        let mut sums = [[simd.splat_f32s(0.0); BACKWARD_VECTORS]; R];
        let mut inputs: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            inputs[r] = &step.products[(row + r) * self.width..][self.terms.clone()];
            sums[r] = load_all(simd, &step.d_h[self.range(row + r)]);
        }
        let panel =
            &self.panel[self.terms.start * BACKWARD_VECTORS..self.terms.end * BACKWARD_VECTORS];
        let sums = product(simd, panel, inputs, sums);
        for (r, sums) in sums.into_iter().enumerate() {
            store_all(simd, &mut step.d_h[self.range(row + r)], sums);
        }
    }

    /// These columns of a row.
    #[inline(always)]
    fn range(&self, row: usize) -> Range<usize> {
        let end = self
            .hidden
            .min(self.first + BACKWARD_VECTORS * S::F32_LANES);
        row * self.hidden + self.first..row * self.hidden + end
    }
}
