//! Every cell as the list of its stages: a product with weights, then arithmetic of units, and where the cell normalises, passes
//! over whole rows between. What [`plain`](super::plain) does not serve comes here.
//!
//! A thread takes a [`Tile`](super::tile::Tile) of sequences through all timesteps; nothing waits for another thread. The
//! arithmetic is [`crate::cell`]'s, run on [`Vector`](super::vector::Vector)s, the backward's on duals of vectors: no derivative is
//! written here but those of sums, products and normalisations.
//!
//! | file | what |
//! |---|---|
//! | `products` | the weights in panels, and the products |
//! | `forward`, `backward` | the steps of a tile |
//! | `lstm_forward`, `lstm_backward` | the LSTM's rows |

mod backward;
mod forward;
mod lstm_backward;
mod lstm_forward;
mod products;

pub(super) use backward::{Given, backward, scratch_width as backward_scratch_width};
pub(super) use forward::{forward, scratch_width as forward_scratch_width};
pub(super) use products::{StagedPanels, StagedSource};

use pulp::Simd;

use crate::config::Cell;
use crate::cpu::recurrence::Layer;
use crate::cpu::row_norm::Group;
use crate::cpu::simd::{MOST_LANES, SLOTS};
use crate::cpu::vector::{Units, Vector};
use crate::ops::RandomPurpose;

/// The slot of the candidate, of an LSTM as of a GRU.
const CANDIDATE: usize = 2;
/// The slot of an LSTM's output gate.
const OUTPUT: usize = 3;

/// Recurrent products that are normalised together: all of the LSTM's, `r z q` of the GRU's.
fn recurrent_group(cell: Cell) -> Group {
    Group::Together([true, true, cell != Cell::Gru, true])
}

/// Row `index` of a tensor of rows, or nothing of an absent one.
#[inline(always)]
fn row(values: &[f32], index: usize, width: usize) -> &[f32] {
    match values.is_empty() {
        true => values,
        false => &values[index * width..(index + 1) * width],
    }
}

/// Likewise, to be changed.
#[inline(always)]
fn row_mut(values: &mut [f32], index: usize, width: usize) -> &mut [f32] {
    match values.is_empty() {
        true => values,
        false => &mut values[index * width..(index + 1) * width],
    }
}

impl Layer<'_> {
    /// How much of the old state units keep in zoneout: the probability in evaluation, draws of 0 or 1 in training.
    #[inline(always)]
    fn kept<S: Simd>(
        &self,
        purpose: RandomPurpose,
        (sequence, step): (usize, usize),
        units: Units<S>,
    ) -> Vector<S> {
        let probability = self.zoneout_probability(purpose);
        let Some(draw) = self.zoneout_draw(purpose, sequence, step) else {
            return Vector::splat(units.simd, probability);
        };
        let mut kept = [0.0; MOST_LANES];
        let kept = &mut kept[..S::F32_LANES];
        // A vector begins at a multiple of its length: with a block of draws, or within one.
        for (block, kept) in kept.chunks_mut(SLOTS).enumerate() {
            let first = units.first + block * SLOTS;
            let drawn = draw.block(first / SLOTS);
            for (kept, drawn) in kept.iter_mut().zip(&drawn[first % SLOTS..]) {
                *kept = if *drawn < probability { 1.0 } else { 0.0 };
            }
        }
        units.whole(kept)
    }
}
