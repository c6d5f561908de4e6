//! The gradients of a layer's weights, in parts: a tile of sequences sums its own, in the order of its steps, and the tiles' are
//! added in the tiles' order. As the tiles are of a size that depends on the batch alone, the sums are the same on any number
//! of threads.
//!
//! A part holds the input's weights `[inputs, products, units]`, the recurrent ones `[hidden, products, units]` and the biases
//! `[slots, units]`, the units in whole vectors, products and slots in the cell's [order](PlainCell::ORDER).

use pulp::Simd;

use super::cells::PlainCell;
use super::{Kind, with_cell};
use crate::cpu::access::elements;
use crate::cpu::panels::for_row_groups;
use crate::cpu::simd::{load, load_all, store, store_all};
use crate::ops::Recurrence;

/// Elements of the three parts for `[inputs, hidden]`, `whole` units in whole vectors.
fn part_lens<C: PlainCell<V>, const V: usize>(_: C, sizes: [usize; 2], whole: usize) -> [usize; 3] {
    let [inputs, hidden] = sizes.map(|size| elements(&[size, V, whole]));
    [inputs, hidden, elements(&[C::UNIT, whole])]
}

/// Elements of a tile's part, with vectors of `lanes` elements.
pub(in crate::cpu) fn partial_len(
    op: &Recurrence,
    kind: Kind,
    inputs: usize,
    lanes: usize,
) -> usize {
    let whole = op.hidden.next_multiple_of(lanes);
    let lens = with_cell!(kind, op, 0, cell => part_lens(cell, [inputs, op.hidden], whole));
    lens.into_iter().fold(0, usize::saturating_add)
}

/// The input's weights, the recurrent ones and the biases of a tile's part.
pub(super) fn partial_parts<C: PlainCell<V>, const V: usize>(
    [inputs, hidden]: [usize; 2],
    whole: usize,
    partial: &mut [f32],
) -> [&mut [f32]; 3] {
    let (input, rest) = partial.split_at_mut(inputs * V * whole);
    let (recurrent, bias) = rest.split_at_mut(hidden * V * whole);
    [input, recurrent, bias]
}

/// The product of what was multiplied with the gradients of the sums, over the sequences of a step.
pub(super) struct Outer<'a, S> {
    pub(super) simd: S,
    /// `[sequences, width]`
    pub(super) products: &'a [f32],
    /// The first of the sums' gradients in a row.
    pub(super) first: usize,
    pub(super) width: usize,
    /// How many there are.
    pub(super) columns: usize,
}

impl<S: Simd> Outer<'_, S> {
    /// Adds it to `target`, `[elements of a row, columns]`.
    #[inline(always)]
    pub(super) fn add<const V: usize>(&self, rows: &[&[f32]], target: &mut [f32]) {
        let count = rows.first().map_or(0, |row| row.len());
        for column in (0..self.columns).step_by(V * S::F32_LANES) {
            for_row_groups!(S, count, first, R => {
                self.block::<R, V>(rows, [first, column], target);
            });
        }
    }

    /// `R` rows and `V` vectors of columns of the result; its sum over the step's sequences stays in registers.
    #[inline(always)]
    fn block<const R: usize, const V: usize>(
        &self,
        rows: &[&[f32]],
        [first, column]: [usize; 2],
        target: &mut [f32],
    ) {
        let (simd, len) = (self.simd, V * S::F32_LANES);
        let start = self.first + column;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (row, products) in rows.iter().zip(self.products.chunks_exact(self.width)) {
            let gradients: [S::f32s; V] = load_all(simd, &products[start..start + len]);
            let row = &row[first..first + R];
            for v in 0..V {
                for r in 0..R {
                    sums[r][v] =
                        simd.mul_add_e_f32s(gradients[v], simd.splat_f32s(row[r]), sums[r][v]);
                }
            }
        }
        for (r, mut sums) in sums.into_iter().enumerate() {
            let target = &mut target[(first + r) * self.columns + column..][..len];
            let before: [S::f32s; V] = load_all(simd, target);
            for v in 0..V {
                sums[v] = simd.add_f32s(before[v], sums[v]);
            }
            store_all(simd, target, sums);
        }
    }
}

/// Adds all rows of `target`'s length to it.
#[inline(always)]
pub(super) fn add_rows<S: Simd>(simd: S, rows: &[f32], target: &mut [f32]) {
    let width = target.len();
    for (vector, target) in target.chunks_mut(S::F32_LANES).enumerate() {
        let mut sum = simd.splat_f32s(0.0);
        for row in rows.chunks_exact(width) {
            let values = &row[vector * S::F32_LANES..][..target.len()];
            sum = simd.add_f32s(sum, load(simd, values));
        }
        let before = load(simd, target);
        store(simd, target, simd.add_f32s(before, sum));
    }
}

/// Where a layer's weight gradients go: `[inputs, hidden, slots]`, `[hidden, hidden, slots]` and `[hidden, slots]`.
#[derive(Debug)]
pub(in crate::cpu) struct WeightGradients<'a> {
    pub(in crate::cpu) input: &'a mut [f32],
    pub(in crate::cpu) recurrent: &'a mut [f32],
    pub(in crate::cpu) bias: &'a mut [f32],
    /// Whether they are added to what is there.
    pub(in crate::cpu) accumulate: bool,
}

/// Adds the tiles' parts, the first of which becomes their sum, and puts them where they go.
pub(in crate::cpu) fn collect(
    op: &Recurrence,
    kind: Kind,
    (partials, len, lanes): (&mut [f32], usize, usize),
    targets: WeightGradients<'_>,
) {
    let (sum, rest) = partials.split_at_mut(len.min(partials.len()));
    for partial in rest.chunks_exact(len) {
        for (sum, partial) in sum.iter_mut().zip(partial) {
            *sum += partial;
        }
    }
    with_cell!(kind, op, 0, cell => spread(cell, (op.hidden, lanes), sum, targets));
}

fn spread<C: PlainCell<V>, const V: usize>(
    _: C,
    (hidden, lanes): (usize, usize),
    sum: &mut [f32],
    targets: WeightGradients<'_>,
) {
    let whole = hidden.next_multiple_of(lanes);
    let inputs = targets.input.len() / (hidden * C::UNIT);
    let [input, recurrent, bias] = partial_parts::<C, V>([inputs, hidden], whole, sum);
    let order = &C::ORDER[..C::UNIT];
    let parts = [
        (input, targets.input, &order[..V]),
        (recurrent, targets.recurrent, &order[C::UNIT - V..]),
        (bias, targets.bias, order),
    ];
    for (sums, target, slots) in parts {
        let rows = sums.chunks_exact(slots.len() * whole);
        for (sums, target) in rows.zip(target.chunks_exact_mut(hidden * C::UNIT)) {
            for (unit, target) in target.chunks_exact_mut(C::UNIT).enumerate() {
                // A slot that a product does not have gets none.
                let mut values = [0.0; crate::cpu::simd::SLOTS];
                for (place, slot) in slots.iter().enumerate() {
                    values[*slot] = sums[place * whole + unit];
                }
                for (target, value) in target.iter_mut().zip(values) {
                    *target = if targets.accumulate {
                        *target + value
                    } else {
                        value
                    };
                }
            }
        }
    }
}
