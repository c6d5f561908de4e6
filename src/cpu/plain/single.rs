//! The forward of a single sequence with what enters it. Step by step the input's weights would be read once for each; the
//! input's products of several steps come first, and wait in a near cache for their steps.

use pulp::{Simd, WithSimd};

use super::cells::PlainCell;
use super::units::{Input, Units};
use super::{Kind, with_cell};
use crate::cpu::panels::{Panels, for_row_groups};
use crate::cpu::simd::SLOTS;
use crate::cpu::tile::{ForwardRows, ForwardTile};
use crate::ops::Recurrence;

/// Steps whose input is multiplied at once.
const STEPS: usize = 12;
/// Vectors of units that there is room for.
const MOST_VECTORS: usize = 16;

/// Whether it is a single sequence, of several steps, and there is room for its units in vectors of `lanes`.
pub(in crate::cpu) fn suits(op: &Recurrence, lanes: usize) -> bool {
    op.batch == 1 && op.steps.len() >= STEPS && op.hidden.div_ceil(lanes) <= MOST_VECTORS
}

/// All steps of one direction.
pub(super) fn forward(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    (input, panels): (Input<'_>, &Panels),
    rows: ForwardRows<'_>,
) {
    rows.for_tiles(op, 1, &|tile| {
        with_cell!(kind, op, direction, cell => panels.dispatch(Sweep {
            cell,
            tile,
            input,
            panels,
            hidden: op.hidden,
            keep: op.keeps_gates,
        }));
    });
}

/// The sequence on its way through the steps.
struct Sweep<'a, C, const V: usize> {
    cell: C,
    tile: ForwardTile<'a>,
    input: Input<'a>,
    panels: &'a Panels,
    hidden: usize,
    keep: bool,
}

impl<C: PlainCell<V>, const V: usize> WithSimd for Sweep<'_, C, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut begun = [[[simd.splat_f32s(0.0); SLOTS]; STEPS]; MOST_VECTORS];
        let count = self.hidden.div_ceil(S::F32_LANES);
        let steps = self.tile.steps();
        for number in steps.clone() {
            let Some(mut step) = self.tile.step(number) else {
                break;
            };
            let units = |number: usize| Units {
                simd,
                cell: self.cell,
                input: self.input,
                number,
                panel: self.panels.panel::<S>(number),
                hidden: self.hidden,
                first: number * S::F32_LANES,
                keep: self.keep,
            };
            let turn = (number - steps.start) % STEPS;
            if turn == 0 {
                // The rows of a single sequence follow one another.
                let rows = STEPS.min(steps.end - number);
                for (number, begun) in begun[..count].iter_mut().enumerate() {
                    let units = units(number);
                    for_row_groups!(S, rows, row, R => {
                        let mut slots = [units.begin(&step, 0); R];
                        units.enter(step.row + row, &mut slots);
                        begun[row..row + R].copy_from_slice(&slots);
                    });
                }
            }
            // To and fro: what a step read last is in the nearest cache when the next begins with it.
            let place = |index: usize| match turn % 2 {
                0 => index,
                _ => count / 2 - 1 - index,
            };
            for index in 0..count / 2 {
                let first = 2 * place(index);
                let begun = [begun[first][turn], begun[first + 1][turn]];
                Units::compute_pair([units(first), units(first + 1)], &mut step, begun);
            }
            if count % 2 == 1 {
                units(count - 1).compute_one(&mut step, begun[count - 1][turn]);
            }
        }
    }
}
