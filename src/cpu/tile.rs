//! Tiles of sequences: what lets a thread take some sequences of a layer through all timesteps without waiting for the
//! others. A tile is a [`Share`] of the layer's tensors, with a name for each of them.

use std::ops::Range;

use crate::cpu::access::elements;
use crate::cpu::parallel::threads;
use crate::cpu::shares::{Lent, PlacedRows, Places, Rows, Share, Shares, Tensors};
use crate::ops::Recurrence;

/// What the forward of one direction works on; what a cell does not have is absent.
#[derive(Debug)]
pub(super) struct ForwardRows<'a> {
    /// `[gate rows, hidden, slots]`
    pub(super) gates: Rows<'a>,
    /// Recurrent products apart, shaped like `gates`.
    pub(super) sums: Rows<'a>,
    /// `[batch + tokens, state]`
    pub(super) h: Rows<'a>,
    /// What enters the recurrent product if it is not `h`, shaped like it.
    pub(super) input: Rows<'a>,
    /// `[batch + tokens, hidden]`
    pub(super) c: Rows<'a>,
    /// `[tokens, hidden]`: what enters the second product.
    pub(super) second: Rows<'a>,
    /// `[batch, ...]`: scratch space.
    pub(super) scratch: Rows<'a>,
}

impl<'a> ForwardRows<'a> {
    /// Of a cell that has none of the others.
    pub(super) fn plain(gates: Rows<'a>, h: Rows<'a>, c: Rows<'a>) -> Self {
        Self {
            gates,
            sums: Rows::absent(),
            h,
            input: Rows::absent(),
            c,
            second: Rows::absent(),
            scratch: Rows::absent(),
        }
    }

    /// Shares out all sequences that run in the operation's steps in tiles of up to `size` sequences, and lets the pool's
    /// threads `work` on them. What a tile computes does not depend on the sizes.
    pub(super) fn for_tiles(
        self,
        op: &'a Recurrence,
        size: usize,
        work: &(impl Fn(ForwardTile<'_>) + Sync),
    ) {
        let [gates, sums] = [self.gates, self.sums].map(|rows| rows.starting_at(op.first_row));
        let tensors = Tensors {
            by_sequence: [self.scratch],
            by_step: [gates, sums, self.second],
            states: [self.h, self.input, self.c],
            by_share: Rows::absent(),
            placed: Rows::absent(),
            places: None,
        };
        let shares = Shares::new(&op.offsets, op.steps.clone(), size, tensors);
        shares.for_each(&|share| work(ForwardTile { share }));
    }
}

/// What the backward of one direction changes; what a cell does not have is absent.
#[derive(Debug)]
pub(super) struct BackwardRows<'a> {
    /// `[gate rows, hidden, slots]`
    pub(super) gates: Rows<'a>,
    /// Recurrent products apart, shaped like `gates`.
    pub(super) sums: Rows<'a>,
    /// `[tokens, state]`: gradient of the output, where that is changed.
    pub(super) output: Rows<'a>,
    /// `[batch, state]`: gradient of the running states.
    pub(super) d_h: Rows<'a>,
    /// `[batch, hidden]`
    pub(super) d_c: Rows<'a>,
    /// `[batch, vectors]`: sums of the vectors' gradients.
    pub(super) vectors: Rows<'a>,
    /// `[batch, ...]`: scratch space.
    pub(super) products: Rows<'a>,
    /// A row for each tile: its part of the weights' gradients.
    pub(super) partial: Rows<'a>,
    /// Gradients of what entered the layer, a row for each sequence and step.
    pub(super) d_input: Rows<'a>,
    /// Where those lie, if not one after the other.
    pub(super) places: Option<&'a Places>,
}

impl<'a> BackwardRows<'a> {
    /// None of them.
    pub(super) fn absent() -> Self {
        Self {
            gates: Rows::absent(),
            sums: Rows::absent(),
            output: Rows::absent(),
            d_h: Rows::absent(),
            d_c: Rows::absent(),
            vectors: Rows::absent(),
            products: Rows::absent(),
            partial: Rows::absent(),
            d_input: Rows::absent(),
            places: None,
        }
    }

    /// Likewise, see [`ForwardRows::for_tiles`].
    pub(super) fn for_tiles(
        self,
        op: &'a Recurrence,
        size: usize,
        work: &(impl Fn(BackwardTile<'_>) + Sync),
    ) {
        let [gates, sums] = [self.gates, self.sums].map(|rows| rows.starting_at(op.first_row));
        let tensors = Tensors {
            by_sequence: [self.d_h, self.d_c, self.vectors, self.products],
            by_step: [gates, sums, self.output],
            states: [],
            by_share: self.partial,
            placed: self.d_input,
            places: self.places,
        };
        let shares = Shares::new(&op.offsets, op.steps.clone(), size, tensors);
        shares.for_each(&|share| work(BackwardTile { share }));
    }
}

/// Rows to write, one for each of a tile's running sequences.
pub(super) trait StepTarget {
    /// Row number `row` of the step.
    fn row(&mut self, row: usize) -> &mut [f32];
}

/// Rows one after the other.
#[derive(Debug)]
pub(super) struct Contiguous<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) width: usize,
}

impl StepTarget for Contiguous<'_> {
    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.width..][..self.width]
    }
}

impl StepTarget for PlacedRows<'_> {
    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        self.row(row)
    }
}

/// Some sequences of one direction, neighbours in sorted order, on their way forward.
#[derive(Debug)]
pub(super) struct ForwardTile<'a> {
    share: Share<'a, 1, 3, 3>,
}

/// A tile's rows of one timestep, one for each of its sequences that still run.
#[derive(Debug)]
pub(super) struct ForwardStep<'a> {
    pub(super) count: usize,
    /// The first sequence.
    pub(super) sequence: usize,
    /// Its row of the batch.
    pub(super) row: usize,
    pub(super) gates: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    pub(super) h_previous: &'a [f32],
    pub(super) h: &'a mut [f32],
    /// What enters the recurrent products before the step, if it is not `h_previous`.
    pub(super) input_previous: &'a [f32],
    pub(super) input: &'a mut [f32],
    pub(super) c_previous: &'a [f32],
    pub(super) c: &'a mut [f32],
    pub(super) second: &'a mut [f32],
    pub(super) scratch: &'a mut [f32],
}

impl ForwardTile<'_> {
    /// Steps of the operation.
    pub(super) fn steps(&self) -> Range<usize> {
        self.share.steps()
    }

    /// The tile's rows of a step; nothing once all its sequences have ended.
    pub(super) fn step(&mut self, step: usize) -> Option<ForwardStep<'_>> {
        let Lent {
            place,
            by_sequence: [scratch],
            by_step: [gates, sums, second],
            before: [h_previous, input_previous, c_previous],
            after: [h, input, c],
            ..
        } = self.share.step(step)?;
        Some(ForwardStep {
            count: place.count,
            sequence: place.sequence,
            row: place.row,
            gates,
            sums,
            h_previous,
            h,
            input_previous,
            input,
            c_previous,
            c,
            second,
            scratch,
        })
    }
}

/// Likewise on their way back.
#[derive(Debug)]
pub(super) struct BackwardTile<'a> {
    share: Share<'a, 4, 3, 0>,
}

/// Likewise for the backward; state rows are given by their numbers, for they are only read.
#[derive(Debug)]
pub(super) struct BackwardStep<'a> {
    pub(super) count: usize,
    /// The first sequence.
    pub(super) sequence: usize,
    /// Its row of the batch.
    pub(super) row: usize,
    /// State rows of the first sequence before and after the step.
    pub(super) previous: usize,
    pub(super) next: usize,
    pub(super) gates: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    pub(super) output: &'a mut [f32],
    pub(super) d_h: &'a mut [f32],
    pub(super) d_c: &'a mut [f32],
    pub(super) vectors: &'a mut [f32],
    pub(super) products: &'a mut [f32],
    pub(super) partial: &'a mut [f32],
    pub(super) d_input: PlacedRows<'a>,
}

impl BackwardTile<'_> {
    /// Steps of the operation.
    pub(super) fn steps(&self) -> Range<usize> {
        self.share.steps()
    }

    /// The tile's rows of a step; nothing where all its sequences have ended.
    pub(super) fn step(&mut self, step: usize) -> Option<BackwardStep<'_>> {
        let Lent {
            place,
            by_sequence: [d_h, d_c, vectors, products],
            by_step: [gates, sums, output],
            by_share: partial,
            placed: d_input,
            ..
        } = self.share.step(step)?;
        Some(BackwardStep {
            count: place.count,
            sequence: place.sequence,
            row: place.row,
            previous: place.previous,
            next: place.next,
            gates,
            sums,
            output,
            d_h,
            d_c,
            vectors,
            products,
            partial,
            d_input,
        })
    }
}

/// The largest tile.
pub(super) const MOST_ROWS: usize = 48;

/// Sequences of a tile: enough tiles to keep the threads busy until the end, but each large enough to use a weight several
/// times while it is in a near cache; with weights that only a far cache holds, as large as the threads allow.
pub(super) fn tile_size(op: &Recurrence, inputs: usize) -> usize {
    const SMALL_WORK: usize = 1 << 17;
    const NEAR_CACHE: usize = 1 << 18;
    let weights = elements(&[inputs.saturating_add(op.hidden), op.hidden, op.layout.slots]);
    let offsets = op.offsets.offsets();
    let rows = offsets[op.steps.end] - offsets[op.steps.start];
    if weights.saturating_mul(rows) <= SMALL_WORK {
        return op.batch.min(MOST_ROWS);
    }
    let tiles_a_thread = if weights > NEAR_CACHE { 1 } else { 2 };
    let tiles = threads() * tiles_a_thread;
    (op.batch * op.directions)
        .div_ceil(tiles)
        .clamp(6, MOST_ROWS)
}
