//! The backward of a tile: in each step, last first, the gradients of all units, then what comes back through the recurrent
//! products; and where a tile is taken through the layer's other products as well, what they are while the gates' gradients
//! are in the nearest cache.

use pulp::{Simd, WithSimd};

use super::cells::{PlainCell, State};
use super::units::{Entering, load_gates, store_gates};
use super::weight_gradients::{Outer, add_rows, partial_parts};
use super::weights::product_width;
use super::{Kind, LayerPanels, with_cell};
use crate::cpu::panels::Panels;
use crate::cpu::row_product::RowProduct;
use crate::cpu::simd::{load, store};
use crate::cpu::tile::{BackwardRows, BackwardStep, BackwardTile, Contiguous, tile_size};
use crate::ops::Recurrence;

/// The most sequences of a tile that is taken through all products.
pub(in crate::cpu) const MOST_SEQUENCES: usize = 32;

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
    /// What the other products need, if they are wanted; the gates are then left as they are.
    pub(in crate::cpu) products: Option<Products<'a>>,
}

/// The products beside the recurrent one: weight gradients, and the input's gradient where there are panels for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Products<'a> {
    pub(in crate::cpu) entering: Entering<'a>,
    /// Sequences of a tile, which the order of the weight gradients' sums depends on.
    pub(in crate::cpu) sequences: usize,
    /// Whether the input's gradient is wanted.
    pub(in crate::cpu) d_input: bool,
    /// Whether it is added to what is there.
    pub(in crate::cpu) accumulate: bool,
}

/// Elements of scratch space that a sequence needs with vectors of `lanes` elements.
pub(in crate::cpu) fn scratch_width(op: &Recurrence, kind: Kind, lanes: usize) -> usize {
    with_cell!(kind, op, 0, cell => product_width(cell, op.hidden, lanes))
}

/// All steps of one direction.
pub(in crate::cpu) fn backward(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    panels: &LayerPanels,
    given: Given<'_>,
    rows: BackwardRows<'_>,
) {
    let recurrent = &panels.backward[direction];
    let wanted = given.products.is_some_and(|products| products.d_input);
    let input = wanted.then(|| &panels.input_backward[direction]);
    let size = match given.products {
        Some(products) => products.sequences.min(MOST_SEQUENCES),
        None => tile_size(op, 0),
    };
    rows.for_tiles(op, size, &|tile| {
        with_cell!(kind, op, direction, cell => recurrent.dispatch(Sweep {
            cell,
            tile,
            recurrent,
            input,
            given,
            hidden: op.hidden,
            width: product_width(cell, op.hidden, recurrent.lanes()),
        }));
    });
}

/// A tile on its way back through the steps.
struct Sweep<'a, C, const V: usize> {
    cell: C,
    tile: BackwardTile<'a>,
    recurrent: &'a Panels,
    input: Option<&'a Panels>,
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
        let whole = width / C::UNIT;
        let mut begun = false;
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
            let back = |offset: usize, columns: usize, replace: bool| RowProduct {
                simd,
                rows: &*step.products,
                width,
                terms: offset..offset + V * whole,
                columns,
                count: step.count,
                replace,
            };
            let mut d_h = Contiguous {
                values: &mut *step.d_h,
                width: hidden,
            };
            let recurrent = back((C::UNIT - V) * whole, hidden, false);
            recurrent.compute(self.recurrent, &mut d_h);
            let Some(products) = self.given.products else {
                continue;
            };
            if let Some(panels) = self.input {
                let input = back(0, products.entering.inputs, !products.accumulate);
                input.compute(panels, &mut step.d_input);
            }
            if !begun {
                step.partial.fill(0.0);
                begun = true;
            }
            let sizes = [products.entering.inputs, hidden];
            let [input, recurrent, bias] = partial_parts::<C, V>(sizes, whole, step.partial);
            let outer = |first: usize| Outer {
                simd,
                products: &*step.products,
                first,
                width,
                columns: V * whole,
            };
            let mut rows: [&[f32]; MOST_SEQUENCES] = [&[]; MOST_SEQUENCES];
            for (row, entering) in rows[..step.count].iter_mut().enumerate() {
                *entering = products.entering.row(step.row + row);
            }
            outer(0).add::<V>(&rows[..step.count], input);
            for (row, state) in rows[..step.count].iter_mut().enumerate() {
                *state = &self.given.h[(step.previous + row) * hidden..][..hidden];
            }
            outer((C::UNIT - V) * whole).add::<V>(&rows[..step.count], recurrent);
            add_rows(simd, step.products, bias);
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
        if given.products.is_none() {
            store_gates::<S, C, V>(simd, &mut step.gates[gates], back.slots);
        }
        store(simd, &mut step.d_h[of(row)], back.old.h);
        if let Some(d_c) = step.d_c.get_mut(of(row)) {
            store(simd, d_c, back.old.c);
        }
        let products = &mut step.products[row * self.width..(row + 1) * self.width];
        let whole = self.width / C::UNIT;
        for (place, slot) in C::ORDER[..C::UNIT].iter().enumerate() {
            let place = place * whole + first;
            let place = &mut products[place..place + S::F32_LANES];
            store(simd, place, back.slots[*slot]);
        }
    }
}
