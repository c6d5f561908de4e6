//! Tiles of sequences: what lets a thread take some sequences of a layer through all timesteps without waiting for the
//! others.
//!
//! The rows of a timestep lie side by side, so a tile's rows are scattered over a tensor, which slices cannot lend to several
//! threads. [`Rows`] lends them by index; the tiles of a direction have no sequence in common and a row belongs to one
//! sequence, so no two threads ever reach the same row.

use std::marker::PhantomData;
use std::ops::Range;

use crate::cpu::access::elements;
use crate::cpu::parallel::{join, threads};
use crate::cpu::recurrence::StepRows;
use crate::ops::Recurrence;

/// A tensor of rows that are lent by index; absent tensors have rows without elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    start: *mut f32,
    len: usize,
    width: usize,
    tensor: PhantomData<&'a mut [f32]>,
}

#[expect(
    unsafe_code,
    reason = "see the module: tiles share out the rows of a tensor"
)]
// SAFETY: a `Rows` is a `&mut [f32]`, which may go to another thread.
unsafe impl Send for Rows<'_> {}
#[expect(
    unsafe_code,
    reason = "see the module: tiles share out the rows of a tensor"
)]
// SAFETY: elements are reached only through `lend`, whose callers see to it that no row is lent twice at a time.
unsafe impl Sync for Rows<'_> {}

impl<'a> Rows<'a> {
    /// Rows of `width` elements; of none if the tensor is absent.
    pub(super) fn new(values: &'a mut [f32], width: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            len: values.len(),
            width: if values.is_empty() { 0 } else { width },
            tensor: PhantomData,
        }
    }

    /// An absent tensor.
    pub(super) fn absent() -> Self {
        Self::new(&mut [], 0)
    }

    /// Some rows.
    ///
    /// # Safety
    /// As long as the result lives, none of these rows may be lent again.
    #[expect(
        unsafe_code,
        reason = "see the module: tiles share out the rows of a tensor"
    )]
    unsafe fn lend<'b>(&self, rows: Range<usize>) -> &'b mut [f32]
    where
        'a: 'b,
    {
        let range = rows.start * self.width..rows.end * self.width;
        assert!(
            range.start <= range.end && range.end <= self.len,
            "elements {range:?} of {}",
            self.len
        );
        // SAFETY: the range lies within the slice, as just asserted; nobody else has these rows, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// What the forward of one direction works on; what a cell does not have is absent.
#[derive(Debug, Clone, Copy)]
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
        let absent = Rows::absent();
        Self {
            gates,
            sums: absent,
            h,
            input: absent,
            c,
            second: absent,
            scratch: absent,
        }
    }
}

/// What the backward of one direction changes; what a cell does not have is absent.
#[derive(Debug, Clone, Copy)]
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
    /// Gradients of what entered the layer.
    pub(super) d_input: InputRows<'a>,
}

impl BackwardRows<'_> {
    /// None of them.
    pub(super) fn absent() -> Self {
        let absent = Rows::absent();
        Self {
            gates: absent,
            sums: absent,
            output: absent,
            d_h: absent,
            d_c: absent,
            vectors: absent,
            products: absent,
            partial: absent,
            d_input: InputRows::absent(),
        }
    }
}

/// Rows of the batch that lie anywhere in a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputRows<'a> {
    pub(super) rows: Rows<'a>,
    /// Where the rows lie, each in another place (which is checked when a program is loaded), if not one after the other.
    pub(super) places: Option<&'a [u32]>,
    /// The row of the batch that comes first.
    pub(super) first: usize,
}

impl InputRows<'_> {
    /// None.
    pub(super) fn absent() -> Self {
        Self {
            rows: Rows::absent(),
            places: None,
            first: 0,
        }
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

/// A tile's rows of [`InputRows`] in one timestep.
#[derive(Debug)]
pub(super) struct StepInputs<'a> {
    all: InputRows<'a>,
    rows: Range<usize>,
}

impl StepTarget for StepInputs<'_> {
    #[expect(
        unsafe_code,
        reason = "see the module: tiles share out the rows of a tensor"
    )]
    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows.len(), "row {row} of {:?}", self.rows);
        let row = self.rows.start + row - self.all.first;
        let place = self.all.places.map_or(row, |places| places[row] as usize);
        // SAFETY: a row of the batch belongs to one sequence and so to this tile alone, no two rows have one place, and as long
        // as the result lives this is borrowed.
        unsafe { self.all.rows.lend(place..place + 1) }
    }
}

/// Some sequences of one direction, neighbours in sorted order, and their rows of `T`.
#[derive(Debug)]
pub(super) struct Tile<'a, T> {
    op: &'a Recurrence,
    number: usize,
    sequences: Range<usize>,
    tensors: T,
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
    pub(super) d_input: StepInputs<'a>,
}

impl<'a, T: Copy + Send + Sync> Tile<'a, T> {
    /// Shares out all sequences that run in the operation's steps in tiles of up to `size` sequences, and lets the pool's
    /// threads `work` on them. What a tile computes does not depend on the sizes.
    pub(super) fn for_all(
        op: &'a Recurrence,
        tensors: T,
        size: usize,
        work: &(impl Fn(Self) + Sync),
    ) {
        let running = super::recurrence::most_rows(op);
        split(op, tensors, 0..running, size.max(1), work);
    }

    /// Steps of the operation.
    pub(super) fn steps(&self) -> Range<usize> {
        self.op.steps.clone()
    }

    /// The places of the sequences that run at `step`, if any do.
    fn rows(&self, step: usize) -> Option<StepRows> {
        let mut rows = StepRows::new(self.op, step);
        let first = self.sequences.start;
        rows.count = rows.count.min(self.sequences.end).checked_sub(first)?;
        for place in [
            &mut rows.first,
            &mut rows.gates,
            &mut rows.previous,
            &mut rows.next,
        ] {
            *place += first;
        }
        (rows.count > 0).then_some(rows)
    }
}

fn split<'a, T: Copy + Send + Sync>(
    op: &'a Recurrence,
    tensors: T,
    sequences: Range<usize>,
    size: usize,
    work: &(impl Fn(Tile<'a, T>) + Sync),
) {
    if sequences.is_empty() {
        return;
    }
    if sequences.len() <= size {
        return work(Tile {
            op,
            // All tiles but the last are of `size` sequences.
            number: sequences.start / size,
            sequences,
            tensors,
        });
    }
    let half = (sequences.len() / 2).next_multiple_of(size);
    let middle = sequences.start + half.min(sequences.len() - 1);
    join(
        || split(op, tensors, sequences.start..middle, size, work),
        || split(op, tensors, middle..sequences.end, size, work),
    );
}

impl Tile<'_, ForwardRows<'_>> {
    /// The tile's rows of a step; nothing once all its sequences have ended.
    #[expect(
        unsafe_code,
        reason = "see the module: tiles share out the rows of a tensor"
    )]
    pub(super) fn step(&mut self, step: usize) -> Option<ForwardStep<'_>> {
        let rows = self.rows(step)?;
        let (all, sequence) = (self.tensors, self.sequences.start);
        let at = |first: usize| first..first + rows.count;
        // SAFETY: the rows belong to this tile's sequences, which no other tile has (`split` makes the tiles); the rows before
        // and after a step are different ones; and as long as the result lives this tile is borrowed.
        unsafe {
            Some(ForwardStep {
                count: rows.count,
                sequence,
                row: rows.first,
                gates: all.gates.lend(at(rows.gates)),
                sums: all.sums.lend(at(rows.gates)),
                h_previous: all.h.lend(at(rows.previous)),
                h: all.h.lend(at(rows.next)),
                input_previous: all.input.lend(at(rows.previous)),
                input: all.input.lend(at(rows.next)),
                c_previous: all.c.lend(at(rows.previous)),
                c: all.c.lend(at(rows.next)),
                second: all.second.lend(at(rows.first)),
                scratch: all.scratch.lend(at(sequence)),
            })
        }
    }
}

impl Tile<'_, BackwardRows<'_>> {
    /// The tile's rows of a step; nothing where all its sequences have ended.
    #[expect(
        unsafe_code,
        reason = "see the module: tiles share out the rows of a tensor"
    )]
    pub(super) fn step(&mut self, step: usize) -> Option<BackwardStep<'_>> {
        let rows = self.rows(step)?;
        let (all, sequence) = (self.tensors, self.sequences.start);
        let at = |first: usize| first..first + rows.count;
        // SAFETY: the rows belong to this tile's sequences, which no other tile has (`split` makes the tiles), and as long as
        // the result lives this tile is borrowed.
        unsafe {
            Some(BackwardStep {
                count: rows.count,
                sequence,
                row: rows.first,
                previous: rows.previous,
                next: rows.next,
                gates: all.gates.lend(at(rows.gates)),
                sums: all.sums.lend(at(rows.gates)),
                output: all.output.lend(at(rows.first)),
                d_h: all.d_h.lend(at(sequence)),
                d_c: all.d_c.lend(at(sequence)),
                vectors: all.vectors.lend(at(sequence)),
                products: all.products.lend(at(sequence)),
                partial: all.partial.lend(self.number..self.number + 1),
                d_input: StepInputs {
                    all: all.d_input,
                    rows: rows.first..rows.first + rows.count,
                },
            })
        }
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
