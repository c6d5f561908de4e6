//! The forward of a tile.

use pulp::{Arch, Simd, WithSimd};

use super::cells::{PlainCell, State};
use super::{Kind, LayerPanels, tile_size, with_cell};
use crate::cpu::panels::{Panels, for_row_groups, product};
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
        for step in self.tile.steps() {
            let Some(mut step) = self.tile.step(step) else {
                // Sequences are sorted: later steps have none of this tile's either.
                break;
            };
            for panel in 0..self.hidden.div_ceil(S::F32_LANES) {
                let units = Units {
                    simd,
                    cell: self.cell,
                    panel: self.panels.panel::<S>(panel),
                    hidden: self.hidden,
                    first: panel * S::F32_LANES,
                    keep: self.keep,
                };
                for_row_groups!(S, step.count, row, R => units.compute::<R>(&mut step, row));
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
    /// Computes the units of `R` sequences from `row` on.
    #[inline(always)]
    fn compute<const R: usize>(&self, step: &mut ForwardStep<'_>, row: usize) {
        let (simd, hidden) = (self.simd, self.hidden);
        let zero = simd.splat_f32s(0.0);
        let mut slots = [[zero; SLOTS]; R];
        let mut sums = [[zero; V]; R];
        let mut inputs: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            inputs[r] = &step.h_previous[(row + r) * hidden..][..hidden];
            slots[r] = load_gates::<S, C, V>(simd, self.gates(step.gates, row + r));
            for v in 0..V {
                sums[r][v] = slots[r][C::PRODUCTS[v]];
            }
        }
        let sums = product(simd, self.panel, inputs, sums);
        for r in 0..R {
            let units = self.units(row + r);
            let old = State {
                h: load(simd, &step.h_previous[units.clone()]),
                c: match step.c_previous.get(units.clone()) {
                    Some(c) => load(simd, c),
                    None => zero,
                },
            };
            let result = self.cell.forward(simd, slots[r], sums[r], old);
            store(simd, &mut step.h[units.clone()], result.new.h);
            if let Some(c) = step.c.get_mut(units) {
                store(simd, c, result.new.c);
            }
            if self.keep {
                let gates = self.gates_range(row + r);
                store_gates::<S, C, V>(simd, &mut step.gates[gates], result.kept);
            }
        }
    }

    /// These units of a row of states.
    #[inline(always)]
    fn units(&self, row: usize) -> std::ops::Range<usize> {
        let start = row * self.hidden;
        start + self.first..start + self.hidden.min(self.first + S::F32_LANES)
    }

    #[inline(always)]
    fn gates_range(&self, row: usize) -> std::ops::Range<usize> {
        let units = self.units(row);
        units.start * C::UNIT..units.end * C::UNIT
    }

    #[inline(always)]
    fn gates<'g>(&self, gates: &'g [f32], row: usize) -> &'g [f32] {
        &gates[self.gates_range(row)]
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
