//! The forward of a tile.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::cells::PlainCell;
use super::units::{Entering, Input, Start, Units, load_gates};
use super::{Kind, LayerPanels, single, with_cell};
use crate::cpu::panels::{Ahead, Panels, TERMS, for_row_groups};
use crate::cpu::simd::SLOTS;
use crate::cpu::tile::{ForwardRows, ForwardStep, ForwardTile, MOST_ROWS, tile_size};
use crate::ops::Recurrence;

/// All steps of one direction. Without `entering`, the gates hold the input's products.
pub(in crate::cpu) fn forward(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    panels: &LayerPanels,
    entering: Option<Entering<'_>>,
    rows: ForwardRows<'_>,
) {
    let recurrent = &panels.forward[direction];
    match entering {
        None => sweep(op, (kind, direction), (Gates, recurrent), rows),
        Some(entering) => {
            let input = Input {
                rows: entering,
                panels: &panels.input[direction],
                bias: &panels.bias[direction],
            };
            if single::suits(op, recurrent.lanes()) {
                return single::forward(op, (kind, direction), (input, recurrent), rows);
            }
            sweep(op, (kind, direction), (input, recurrent), rows);
        }
    }
}

fn sweep<I: Start>(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    (input, panels): (I, &Panels),
    rows: ForwardRows<'_>,
) {
    rows.for_tiles(op, tile_size(op, input.terms()), &|tile| {
        with_cell!(kind, op, direction, cell => panels.dispatch(Sweep {
            cell,
            tile,
            weights: Weights {
                input,
                recurrent: panels,
                hidden: op.hidden,
            },
            keep: op.keeps_gates,
        }));
    });
}

/// The input's products, which lie in the gates.
#[derive(Debug, Clone, Copy)]
struct Gates;

impl Start for Gates {
    #[inline(always)]
    fn terms(self) -> usize {
        0
    }

    #[inline(always)]
    fn panels(&self) -> Option<&Panels> {
        None
    }

    #[inline(always)]
    fn begin<S: Simd, C: PlainCell<V>, const V: usize>(
        self,
        units: &Units<'_, S, C, Self, V>,
        step: &ForwardStep<'_>,
        row: usize,
    ) -> [S::f32s; SLOTS] {
        load_gates::<S, C, V>(units.simd, &step.gates[units.gates(row)])
    }

    #[inline(always)]
    fn add<S: Simd, C: PlainCell<V>, const R: usize, const V: usize>(
        self,
        _: &Units<'_, S, C, Self, V>,
        _: usize,
        _: (Range<usize>, Ahead<S::f32s>),
        _: &mut [[S::f32s; SLOTS]; R],
    ) {
    }
}

/// A tile on its way through the steps.
struct Sweep<'a, C, I, const V: usize> {
    cell: C,
    tile: ForwardTile<'a>,
    weights: Weights<'a, I>,
    keep: bool,
}

impl<C: PlainCell<V>, I: Start, const V: usize> WithSimd for Sweep<'_, C, I, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut partial = [[simd.splat_f32s(0.0); SLOTS]; MOST_ROWS];
        let weights = self.weights;
        let Weights { input, hidden, .. } = weights;
        let inputs = input.terms();
        let mut backwards = false;
        for step in self.tile.steps() {
            let Some(mut step) = self.tile.step(step) else {
                // Sequences are sorted: later steps have none of this tile's either.
                break;
            };
            let units = |number: usize| Units {
                simd,
                cell: self.cell,
                input,
                number,
                panel: weights.recurrent.panel::<S>(number),
                hidden,
                first: number * S::F32_LANES,
                keep: self.keep,
            };
            let count = hidden.div_ceil(S::F32_LANES);
            // To and fro: what a step read last is in the nearest cache when the next begins with it.
            backwards = !backwards;
            let place = |index: usize, len: usize| match backwards {
                true => len - 1 - index,
                false => index,
            };
            let mut done = 0;
            if step.count == 1 && inputs == 0 {
                for index in 0..count / 2 {
                    let first = 2 * place(index, count / 2);
                    let pair = [units(first), units(first + 1)];
                    let begun = [pair[0].begin(&step, 0), pair[1].begin(&step, 0)];
                    Units::compute_pair(pair, &mut step, begun);
                }
                done = count / 2 * 2;
            }
            for index in 0..count - done {
                let units = units(done + place(index, count - done));
                let next = done + place((index + 1).min(count - done - 1), count - done);
                // A block of a panel's terms stays in a near cache while all rows pass.
                for block in (0..inputs + hidden).step_by(TERMS) {
                    let terms = block..(inputs + hidden).min(block + TERMS);
                    let ahead = weights.ahead::<S, V>((units.number, next), terms.end);
                    for_row_groups!(S, step.count, row, R => {
                        let terms = (terms.clone(), ahead.skip(row / R));
                        units.compute::<R>(&mut step, row, terms, &mut partial);
                    });
                }
            }
        }
    }
}

/// The weights of both products, in the order in which a step reads them.
#[derive(Clone, Copy)]
struct Weights<'a, I> {
    input: I,
    recurrent: &'a Panels,
    hidden: usize,
}

impl<I: Start> Weights<'_, I> {
    /// What follows term `term` of a vector of units, after its last the `next` vector's.
    #[inline(always)]
    fn ahead<S: Simd, const V: usize>(
        &self,
        (number, next): (usize, usize),
        term: usize,
    ) -> Ahead<S::f32s> {
        let inputs = self.input.terms();
        let (number, term) = match term < inputs + self.hidden {
            true => (number, term),
            false => (next, 0),
        };
        match self.input.panels() {
            Some(panels) if term < inputs => panels.ahead::<S>(number, term * V),
            _ => self.recurrent.ahead::<S>(number, (term - inputs) * V),
        }
    }
}
