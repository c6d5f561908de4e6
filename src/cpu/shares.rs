//! Tensors that threads share out by sequence, and all of the unsafe code that this takes.
//!
//! The rows of a timestep lie side by side, so the rows of a few sequences are scattered over a tensor, and slices cannot lend
//! them to several threads. [`Shares`] takes such tensors, checks once that each has room for the rows of its kind, and hands
//! out every sequence once, in [`Share`]s. A share cannot be copied, and lends the rows of its own sequences only, for one step
//! at a time.
//!
//! Why no row is ever lent twice at a time:
//! - Each tensor is a mutable borrow of its own.
//! - Within a tensor a row belongs to one sequence. [`Timeline`] checks what this rests on: sequences only get fewer from step
//!   to step, so that the rows of a step end before those of the next begin; [`Places`] checks rows that lie anywhere.
//! - Two shares have no sequence in common: [`Share::split`] alone makes shares, from one that it consumes.
//! - A share is borrowed mutably for as long as any of its rows is lent, and the rows before and after a step are different
//!   ones.

use std::array;
use std::marker::PhantomData;
use std::ops::Range;
use std::slice;

use crate::batch::Packing;
use crate::cpu::parallel::join;

/// A tensor of rows; an absent one has rows without elements.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    start: *mut f32,
    len: usize,
    width: usize,
    /// Row of the batch that comes first, of a tensor with a row for each sequence and step.
    first: usize,
    tensor: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "the pointer stands for a mutable borrow")]
// SAFETY: it is a `&mut [f32]` with two numbers, which may go to another thread.
unsafe impl Send for Rows<'_> {}
#[expect(unsafe_code, reason = "the pointer stands for a mutable borrow")]
// SAFETY: a shared `Rows` gives nothing but numbers, except to this module's shares, which never lend a row twice.
unsafe impl Sync for Rows<'_> {}

impl<'a> Rows<'a> {
    /// Rows of `width` elements; of none if the tensor is absent.
    pub(super) fn new(values: &'a mut [f32], width: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            len: values.len(),
            width: if values.is_empty() { 0 } else { width },
            first: 0,
            tensor: PhantomData,
        }
    }

    /// An absent tensor.
    pub(super) fn absent() -> Self {
        Self::new(&mut [], 0)
    }

    /// Without the rows of the batch before `first`.
    pub(super) fn starting_at(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Panics if there is no room for so many rows.
    fn assert_room(&self, rows: usize) {
        assert!(
            rows.checked_mul(self.width)
                .is_some_and(|len| len <= self.len),
            "{rows} rows of {} elements in {}",
            self.width,
            self.len
        );
    }

    /// Row numbers of a tensor with a row for each sequence and step.
    fn of_batch(&self, rows: Range<usize>) -> Range<usize> {
        rows.start - self.first..rows.end - self.first
    }

    /// Some rows.
    ///
    /// # Safety
    /// The rows lie in the tensor, and none of them is lent elsewhere for as long as the result lives.
    #[expect(unsafe_code, reason = "see the module")]
    #[inline(always)]
    unsafe fn lend<'b>(&self, rows: Range<usize>) -> &'b mut [f32]
    where
        'a: 'b,
    {
        debug_assert!(rows.start <= rows.end && rows.end * self.width <= self.len);
        // SAFETY: as the caller promises, the rows lie in the tensor, which is borrowed for 'a, and nobody else has them.
        unsafe {
            slice::from_raw_parts_mut(
                self.start.add(rows.start * self.width),
                rows.len() * self.width,
            )
        }
    }
}

/// Rows of a tensor in any order, no row twice.
#[derive(Debug)]
pub(super) struct Places {
    rows: Vec<u32>,
    /// One more than the largest.
    reached: usize,
}

impl Places {
    /// Nothing if a row comes twice, or is not one of `within` rows.
    pub(super) fn new(rows: &[u32], within: usize) -> Option<Self> {
        let reached = rows.iter().max().map_or(0, |&row| row as usize + 1);
        if reached > within {
            return None;
        }
        let mut taken = vec![false; reached];
        let first = |&row: &u32| !std::mem::replace(&mut taken[row as usize], true);
        rows.iter().all(first).then(|| Self {
            rows: rows.to_vec(),
            reached,
        })
    }
}

/// Some steps of a batch.
#[derive(Debug)]
struct Timeline<'a> {
    /// Rows before each step of the whole batch, and all rows.
    offsets: &'a [usize],
    batch: usize,
    steps: Range<usize>,
}

impl<'a> Timeline<'a> {
    /// Panics if the batch has no such steps, or more sequences at a later one.
    fn new(packing: &'a Packing, steps: Range<usize>) -> Self {
        let (offsets, batch) = (packing.offsets(), packing.batch());
        assert!(
            steps.start <= steps.end && steps.end < offsets.len(),
            "steps {steps:?} of {}",
            packing.steps()
        );
        let mut most = batch;
        // States before the first step are those after the one before it.
        let first = steps.start.saturating_sub(1);
        for rows in offsets[first..=steps.end].windows(2) {
            let running = rows[1].checked_sub(rows[0]);
            assert!(
                running.is_some_and(|running| running <= most),
                "sequences of a later step"
            );
            most = running.unwrap_or(0);
        }
        Self {
            offsets,
            batch,
            steps,
        }
    }

    /// Rows of the batch in these steps.
    fn rows(&self) -> Range<usize> {
        self.offsets[self.steps.start]..self.offsets[self.steps.end]
    }

    /// Sequences that run at the first step; later ones have no more.
    fn running(&self) -> usize {
        match self.steps.is_empty() {
            true => 0,
            false => self.offsets[self.steps.start + 1] - self.offsets[self.steps.start],
        }
    }

    /// Where those of the sequences lie that run at a step, if any do.
    fn place(&self, sequences: &Range<usize>, step: usize) -> Option<Place> {
        assert!(self.steps.contains(&step), "step {step}");
        let (first, end) = (self.offsets[step], self.offsets[step + 1]);
        let sequence = sequences.start;
        let count = sequences.end.min(end - first).checked_sub(sequence)?;
        let previous = match step {
            0 => 0,
            _ => self.batch + self.offsets[step - 1],
        };
        (count > 0).then_some(Place {
            count,
            sequence,
            row: first + sequence,
            previous: previous + sequence,
            next: self.batch + first + sequence,
        })
    }
}

/// Where a share's rows of a step lie; all but `count` are those of its first sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many of its sequences still run.
    pub(super) count: usize,
    /// The first sequence, in sorted order.
    pub(super) sequence: usize,
    /// Its row of the batch.
    pub(super) row: usize,
    /// Its state row before the step.
    pub(super) previous: usize,
    /// Its state row after the step.
    pub(super) next: usize,
}

/// Tensors by the kind of their rows.
#[derive(Debug)]
pub(super) struct Tensors<'a, const N: usize, const M: usize, const K: usize> {
    /// A row for each sequence.
    pub(super) by_sequence: [Rows<'a>; N],
    /// A row for each sequence and step.
    pub(super) by_step: [Rows<'a>; M],
    /// `[batch + tokens]` states: a row for each sequence, then for each sequence and step.
    pub(super) states: [Rows<'a>; K],
    /// A row for each share.
    pub(super) by_share: Rows<'a>,
    /// A row for each sequence and step.
    pub(super) placed: Rows<'a>,
    /// Which of them it is, if not the next.
    pub(super) places: Option<&'a Places>,
}

/// Tensors of some steps of a batch, to be shared out.
#[derive(Debug)]
pub(super) struct Shares<'a, const N: usize, const M: usize, const K: usize> {
    timeline: Timeline<'a>,
    size: usize,
    tensors: Tensors<'a, N, M, K>,
}

impl<'a, const N: usize, const M: usize, const K: usize> Shares<'a, N, M, K> {
    /// For shares of up to `size` sequences.
    ///
    /// # Panics
    /// If the batch has no such steps, or a tensor no room for the rows of its kind: a program's sizes are checked when it is
    /// loaded.
    pub(super) fn new(
        packing: &'a Packing,
        steps: Range<usize>,
        size: usize,
        tensors: Tensors<'a, N, M, K>,
    ) -> Self {
        let timeline = Timeline::new(packing, steps);
        let (size, rows, running) = (size.max(1), timeline.rows(), timeline.running());
        for tensor in &tensors.by_sequence {
            tensor.assert_room(running);
        }
        for tensor in &tensors.states {
            tensor.assert_room(timeline.batch.saturating_add(rows.end));
        }
        tensors.by_share.assert_room(running.div_ceil(size));
        let by_step = tensors.by_step.iter();
        for tensor in by_step.chain([&tensors.placed]) {
            assert!(tensor.first <= rows.start, "rows from {}", tensor.first);
        }
        for tensor in &tensors.by_step {
            tensor.assert_room(rows.end - tensor.first);
        }
        let places = rows.end - tensors.placed.first;
        match tensors.places {
            None => tensors.placed.assert_room(places),
            Some(Places { rows, reached }) => {
                assert!(places <= rows.len(), "{places} places of {}", rows.len());
                tensors.placed.assert_room(*reached);
            }
        }
        Self {
            timeline,
            size,
            tensors,
        }
    }

    /// Shares out all sequences that run in the steps, and lets the pool's threads `work` on the shares.
    pub(super) fn for_each(self, work: &(impl Fn(Share<'_, N, M, K>) + Sync)) {
        let all = Share {
            of: &self,
            sequences: 0..self.timeline.running(),
        };
        all.split(work);
    }
}

/// Some sequences, neighbours in sorted order, and their rows.
#[derive(Debug)]
pub(super) struct Share<'a, const N: usize, const M: usize, const K: usize> {
    of: &'a Shares<'a, N, M, K>,
    /// No other share's; from a multiple of the size on.
    sequences: Range<usize>,
}

/// A share's rows of one step, in the order of [`Tensors`].
#[derive(Debug)]
pub(super) struct Lent<'a, const N: usize, const M: usize, const K: usize> {
    pub(super) place: Place,
    pub(super) by_sequence: [&'a mut [f32]; N],
    pub(super) by_step: [&'a mut [f32]; M],
    /// States before the step.
    pub(super) before: [&'a [f32]; K],
    /// States after the step.
    pub(super) after: [&'a mut [f32]; K],
    pub(super) by_share: &'a mut [f32],
    pub(super) placed: PlacedRows<'a>,
}

impl<const N: usize, const M: usize, const K: usize> Share<'_, N, M, K> {
    /// Works on it in pieces of up to the size.
    fn split(self, work: &(impl Fn(Self) + Sync)) {
        let (Range { start, end }, size) = (self.sequences.clone(), self.of.size);
        let count = end - start;
        if count <= size {
            if count > 0 {
                work(self);
            }
            return;
        }
        // Less than the count, which is more than the size.
        let middle = start + (count / 2).next_multiple_of(size);
        let share = |sequences| Self {
            of: self.of,
            sequences,
        };
        let (first, second) = (share(start..middle), share(middle..end));
        join(|| first.split(work), || second.split(work));
    }

    /// The steps.
    pub(super) fn steps(&self) -> Range<usize> {
        self.of.timeline.steps.clone()
    }

    /// The rows of a step; nothing where all the sequences have ended.
    ///
    /// # Panics
    /// If it is none of the steps.
    #[expect(unsafe_code, reason = "see the module")]
    pub(super) fn step(&mut self, step: usize) -> Option<Lent<'_, N, M, K>> {
        let Shares {
            timeline,
            size,
            tensors,
        } = self.of;
        let place = timeline.place(&self.sequences, step)?;
        let at = |first: usize| first..first + place.count;
        let (sequences, rows) = (at(place.sequence), at(place.row));
        let number = place.sequence / size;
        // SAFETY: `Shares::new` has found room for the rows of all steps and sequences. Why nobody else has these is told at the
        // top; the lifetime of the result is that of a mutable borrow of this share.
        unsafe {
            Some(Lent {
                place,
                by_sequence: array::from_fn(|n| tensors.by_sequence[n].lend(sequences.clone())),
                by_step: array::from_fn(|n| {
                    let tensor = &tensors.by_step[n];
                    tensor.lend(tensor.of_batch(rows.clone()))
                }),
                before: array::from_fn(|n| &*tensors.states[n].lend(at(place.previous))),
                after: array::from_fn(|n| tensors.states[n].lend(at(place.next))),
                by_share: tensors.by_share.lend(number..number + 1),
                placed: PlacedRows::new(tensors, rows),
            })
        }
    }
}

/// A share's rows of one step that lie anywhere.
#[derive(Debug)]
pub(super) struct PlacedRows<'a> {
    tensor: &'a Rows<'a>,
    /// No other share's.
    rows: Range<usize>,
    /// Where they lie, if not as their numbers say.
    places: Option<&'a [u32]>,
}

impl<'a> PlacedRows<'a> {
    fn new<const N: usize, const M: usize, const K: usize>(
        tensors: &'a Tensors<'a, N, M, K>,
        of_batch: Range<usize>,
    ) -> Self {
        let rows = tensors.placed.of_batch(of_batch);
        Self {
            tensor: &tensors.placed,
            places: tensors.places.map(|places| &places.rows[rows.clone()]),
            rows,
        }
    }

    /// The row of number `number` of the sequences that still run.
    ///
    /// # Panics
    /// If there are not as many.
    #[expect(unsafe_code, reason = "see the module")]
    #[inline(always)]
    pub(super) fn row(&mut self, number: usize) -> &mut [f32] {
        assert!(
            number < self.rows.len(),
            "row {number} of {}",
            self.rows.len()
        );
        let row = match self.places {
            Some(places) => places[number] as usize,
            None => self.rows.start + number,
        };
        // SAFETY: `Shares::new` has found room for all places, a place is one row's alone, the row is this share's, and as long
        // as the result lives this is borrowed.
        unsafe { self.tensor.lend(row..row + 1) }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Tensors of a batch, with a number for each element, of two elements a row.
    struct Batch {
        packing: Packing,
        by_sequence: Vec<f32>,
        by_step: Vec<f32>,
        states: Vec<f32>,
        by_share: Vec<f32>,
        placed: Vec<f32>,
        places: Option<Places>,
    }

    impl Batch {
        fn new(lengths: &[usize]) -> Self {
            let packing = Packing::new(lengths).unwrap();
            let (batch, tokens) = (packing.batch(), packing.tokens());
            let zeros = |rows: usize| vec![0.0; 2 * rows];
            Self {
                by_sequence: zeros(batch),
                by_step: zeros(tokens),
                states: zeros(batch + tokens),
                by_share: zeros(batch),
                placed: zeros(tokens),
                places: Places::new(&packing.reverse_rows(), tokens),
                packing,
            }
        }

        fn shares(&mut self, steps: Range<usize>, size: usize) -> Shares<'_, 1, 2, 1> {
            let first = self.packing.offsets()[steps.start];
            let tensors = Tensors {
                by_sequence: [Rows::new(&mut self.by_sequence, 2)],
                by_step: [Rows::new(&mut self.by_step, 2), Rows::absent()],
                states: [Rows::new(&mut self.states, 2)],
                by_share: Rows::new(&mut self.by_share, 2),
                placed: Rows::new(&mut self.placed, 2).starting_at(first),
                places: self.places.as_ref(),
            };
            Shares::new(&self.packing, steps, size, tensors)
        }
    }

    /// Adds 1 to every element that a share's steps lend, and to the states after a step the one before.
    fn count(mut share: Share<'_, 1, 2, 1>) {
        for step in share.steps() {
            let Some(mut rows) = share.step(step) else {
                continue;
            };
            let len = 2 * rows.place.count;
            let [by_step, absent] = rows.by_step;
            assert!(absent.is_empty() && rows.by_share.len() == 2);
            for values in [&mut *rows.by_sequence[0], by_step, rows.by_share] {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            assert_eq!((rows.before[0].len(), rows.after[0].len()), (len, len));
            for (after, before) in rows.after[0].iter_mut().zip(rows.before[0]) {
                *after += 1.0 + before;
            }
            for number in 0..rows.place.count {
                let row = rows.placed.row(number);
                row.iter_mut().for_each(|value| *value += 1.0);
            }
            let behind = AssertUnwindSafe(|| rows.placed.row(rows.place.count).len());
            assert!(catch_unwind(behind).is_err());
        }
    }

    #[test]
    fn every_row_is_lent_once_for_its_step() {
        let lengths = [4, 0, 7, 1, 7, 2, 3];
        for size in [0, 1, 2, 3, 5, 7, 100] {
            let mut batch = Batch::new(&lengths);
            batch.shares(0..7, size).for_each(&count);
            let sorted = [7.0, 7.0, 4.0, 3.0, 2.0, 1.0, 0.0];
            let twice = |rows: &[f32]| rows.iter().flat_map(|&row| [row; 2]).collect::<Vec<_>>();
            assert_eq!(batch.by_sequence, twice(&sorted), "{size}");
            assert!(batch.by_step.iter().all(|&value| value == 1.0), "{size}");
            assert!(batch.placed.iter().all(|&value| value == 1.0), "{size}");
            let steps = batch.packing.step_of_rows();
            let states: Vec<f32> = steps.iter().map(|&step| step as f32 + 1.0).collect();
            assert_eq!(batch.states[2 * 7..], twice(&states), "{size}");
            assert!(batch.states[..2 * 7].iter().all(|&value| value == 0.0));
            // The share with the longest sequence has all seven steps.
            assert_eq!(batch.by_share[..2], [7.0; 2], "{size}");
        }
    }

    #[test]
    fn rows_of_other_steps_are_left_alone() {
        let mut batch = Batch::new(&[3, 5, 2]);
        batch.places = None;
        batch.shares(2..4, 1).for_each(&count);
        // Rows of steps 0 to 4: three, three, two, one and one.
        let expected = [0, 0, 0, 0, 0, 0, 1, 1, 1, 0].map(|row| row as f32);
        let of = |values: &[f32]| values.iter().step_by(2).copied().collect::<Vec<_>>();
        assert_eq!(of(&batch.by_step), expected);
        assert_eq!(of(&batch.placed)[..3], [1.0; 3]);
        assert_eq!(
            of(&batch.states),
            [&[0.0; 3][..], &[0.0; 6], &[1.0, 1.0, 2.0, 0.0]].concat()
        );
        batch
            .shares(4..4, 1)
            .for_each(&|_| unreachable!("no steps"));
        batch.shares(4..5, 1).for_each(&|mut share| {
            assert!(catch_unwind(AssertUnwindSafe(|| share.step(3).is_some())).is_err());
        });
    }

    #[test]
    fn tensors_without_room_are_refused() {
        let fits = |change: fn(&mut Batch), steps: Range<usize>| {
            let mut batch = Batch::new(&[3, 5, 2]);
            change(&mut batch);
            catch_unwind(AssertUnwindSafe(|| {
                batch.shares(steps, 2);
            }))
            .is_ok()
        };
        assert!(fits(|_| (), 0..5));
        assert!(!fits(|_| (), 0..6));
        fn shorten(values: &mut Vec<f32>) {
            values.truncate(values.len() - 1);
        }
        let changes: [fn(&mut Batch); 4] = [
            |batch| shorten(&mut batch.by_step),
            |batch| shorten(&mut batch.states),
            |batch| shorten(&mut batch.by_sequence),
            |batch| shorten(&mut batch.placed),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!fits(change, 0..5), "{number}");
        }
        assert!(!fits(|batch| batch.by_share.truncate(3), 0..5));
        assert!(!fits(|batch| batch.places = Places::new(&[0, 1], 2), 0..5));
        assert!(!fits(
            |batch| batch.places = Places::new(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 10], 11),
            0..5
        ));
    }

    #[test]
    fn places_are_distinct() {
        assert!(Places::new(&[], 0).is_some());
        assert!(Places::new(&[2, 0, 1], 3).is_some());
        assert!(Places::new(&[2, 0, 1], 2).is_none());
        assert!(Places::new(&[2, 0, 2], 3).is_none());
        assert!(Places::new(&[u32::MAX], 3).is_none());
    }
}
