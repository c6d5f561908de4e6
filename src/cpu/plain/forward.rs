//! The forward of a tile.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::cells::{PlainCell, State};
use super::{Kind, LayerPanels, MOST_ROWS, tile_size, with_cell};
use crate::cpu::panels::{Panels, TERMS, for_row_groups, product, product_of_row};
use crate::cpu::simd::{SLOTS, load, load_slots, store, store_slots};
use crate::cpu::tile::{ForwardRows, ForwardStep, Tile};
use crate::ops::Recurrence;

/// All steps of one direction.
pub(in crate::cpu) fn forward(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    panels: &LayerPanels,
    rows: ForwardRows<'_>,
) {
    let panels = &panels.forward[direction];
    Tile::for_all(op, rows, tile_size(op), &|tile| {
        with_cell!(kind, op, direction, cell => Arch::new().dispatch(Sweep {
            cell,
            tile,
            panels,
            hidden: op.hidden,
            keep: op.keeps_gates,
        }));
    });
}

/// A tile on its way through the steps.
struct Sweep<'a, C, const V: usize> {
    cell: C,
    tile: Tile<'a, ForwardRows<'a>>,
    panels: &'a Panels,
    hidden: usize,
    keep: bool,
}

impl<C: PlainCell<V>, const V: usize> WithSimd for Sweep<'_, C, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut partial = [[simd.splat_f32s(0.0); V]; MOST_ROWS];
        for step in self.tile.steps() {
            let Some(mut step) = self.tile.step(step) else {
                // Sequences are sorted: later steps have none of this tile's either.
                break;
            };
            let units = |panel: usize| Units {
                simd,
                cell: self.cell,
                panel: self.panels.panel::<S>(panel),
                hidden: self.hidden,
                first: panel * S::F32_LANES,
                keep: self.keep,
            };
            let count = self.hidden.div_ceil(S::F32_LANES);
            let mut done = 0;
            if step.count == 1 {
                while done + 2 <= count {
                    Units::compute_pair([units(done), units(done + 1)], &mut step);
                    done += 2;
                }
            }
            for panel in done..count {
                let units = units(panel);
                // A block of a panel's terms stays in the nearest cache while all rows pass.
                for block in (0..self.hidden).step_by(TERMS) {
                    let terms = block..self.hidden.min(block + TERMS);
                    for_row_groups!(S, step.count, row, R => {
                        units.compute::<R>(&mut step, row, terms.clone(), &mut partial);
                    });
                }
            }
        }
    }
}

/// A vector of units.
struct Units<'a, S: Simd, C, const V: usize> {
    simd: S,
    cell: C,
    panel: &'a [S::f32s],
    hidden: usize,
    first: usize,
    keep: bool,
}

impl<S: Simd, C: PlainCell<V>, const V: usize> Units<'_, S, C, V> {
    /// Adds some terms to the sums of `R` sequences from `row` on; with the last terms goes on to the states.
    #[inline(always)]
    fn compute<const R: usize>(
        &self,
        step: &mut ForwardStep<'_>,
        row: usize,
        terms: Range<usize>,
        partial: &mut [[S::f32s; V]; MOST_ROWS],
    ) {
        let (simd, hidden) = (self.simd, self.hidden);
        let zero = simd.splat_f32s(0.0);
        let (is_first, is_last) = (terms.start == 0, terms.end == hidden);
        let mut slots = [[zero; SLOTS]; R];
        let mut sums = [[zero; V]; R];
        let mut inputs: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            inputs[r] = &step.h_previous[(row + r) * hidden..][terms.clone()];
            if is_first || is_last {
                slots[r] = load_gates::<S, C, V>(simd, &step.gates[self.gates(row + r)]);
            }
            for v in 0..V {
                sums[r][v] = match is_first {
                    true => slots[r][C::PRODUCTS[v]],
                    false => partial[row + r][v],
                };
            }
        }
        let panel = &self.panel[terms.start * V..terms.end * V];
        let sums = product(simd, panel, inputs, sums);
        if !is_last {
            partial[row..row + R].copy_from_slice(&sums);
            return;
        }
        for r in 0..R {
            self.finish(step, row + r, slots[r], sums[r]);
        }
    }

    /// Computes the units of the only sequence.
    #[inline(always)]
    fn compute_pair(pair: [Self; 2], step: &mut ForwardStep<'_>) {
        let [first, second] = &pair;
        let simd = first.simd;
        let slots = [
            load_gates::<S, C, V>(simd, &step.gates[first.gates(0)]),
            load_gates::<S, C, V>(simd, &step.gates[second.gates(0)]),
        ];
        let mut sums = [[simd.splat_f32s(0.0); V]; 2];
        for (sums, slots) in sums.iter_mut().zip(&slots) {
            for v in 0..V {
                sums[v] = slots[C::PRODUCTS[v]];
            }
        }
        let row = &step.h_previous[..first.hidden];
        let sums = product_of_row(simd, [first.panel, second.panel], row, sums);
        first.finish(step, 0, slots[0], sums[0]);
        second.finish(step, 0, slots[1], sums[1]);
    }

    /// From the complete sums of a row to its states, and to what the backward wants to know.
    #[inline(always)]
    fn finish(
        &self,
        step: &mut ForwardStep<'_>,
        row: usize,
        slots: [S::f32s; SLOTS],
        sums: [S::f32s; V],
    ) {
        let (simd, units) = (self.simd, self.units(row));
        let old = State {
            h: load(simd, &step.h_previous[units.clone()]),
            c: match step.c_previous.get(units.clone()) {
                Some(c) => load(simd, c),
                None => simd.splat_f32s(0.0),
            },
        };
        let result = self.cell.forward(simd, slots, sums, old);
        store(simd, &mut step.h[units.clone()], result.new.h);
        if let Some(c) = step.c.get_mut(units) {
            store(simd, c, result.new.c);
        }
        if self.keep {
            store_gates::<S, C, V>(simd, &mut step.gates[self.gates(row)], result.kept);
        }
    }

    /// These units of a row of states.
    #[inline(always)]
    fn units(&self, row: usize) -> Range<usize> {
        let start = row * self.hidden;
        start + self.first..start + self.hidden.min(self.first + S::F32_LANES)
    }

    /// Their slots in a row of gates.
    #[inline(always)]
    fn gates(&self, row: usize) -> Range<usize> {
        let units = self.units(row);
        units.start * C::UNIT..units.end * C::UNIT
    }
}

/// The slots of a vector of units.
#[inline(always)]
pub(super) fn load_gates<S: Simd, C: PlainCell<V>, const V: usize>(
    simd: S,
    gates: &[f32],
) -> [S::f32s; SLOTS] {
    if C::UNIT == SLOTS {
        return load_slots(simd, gates);
    }
    let zero = simd.splat_f32s(0.0);
    [load(simd, gates), zero, zero, zero]
}

/// The reverse of [`load_gates`].
#[inline(always)]
pub(super) fn store_gates<S: Simd, C: PlainCell<V>, const V: usize>(
    simd: S,
    gates: &mut [f32],
    slots: [S::f32s; SLOTS],
) {
    if C::UNIT == SLOTS {
        store_slots(simd, gates, slots);
    } else {
        store(simd, gates, slots[0]);
    }
}
