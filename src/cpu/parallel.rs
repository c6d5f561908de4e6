//! Splitting work over threads where it is worth it. What a piece computes never depends on how the work was split.

use std::array;
use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

/// Fewer element operations than this are done by one thread: waking another costs as much.
const WORTH_SPLITTING: usize = 32 * 1024;

thread_local! {
    /// Whether this thread does all work by itself.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` on this thread and on no other: nothing that it splits off leaves the thread, and no pool is asked for.
pub(super) fn alone<R>(work: impl FnOnce() -> R) -> R {
    /// What it was before, also after a panic.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Before(ALONE.replace(true));
    work()
}

fn is_alone() -> bool {
    ALONE.get()
}

/// Threads that share what is split off here.
pub(super) fn threads() -> usize {
    match is_alone() {
        true => 1,
        false => rayon::current_num_threads(),
    }
}

/// Does both, on two threads if the second is free.
pub(super) fn join<A: Send, B: Send>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    match is_alone() {
        true => (first(), second()),
        false => rayon::join(first, second),
    }
}

/// Calls `work(number, elements)` for every chunk of `len` elements; the last may be shorter.
pub(super) fn for_chunks(values: &mut [f32], len: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    match is_alone() {
        true => {
            for (number, values) in values.chunks_mut(len).enumerate() {
                work(number, values);
            }
        }
        false => { values.par_chunks_mut(len).enumerate() }
            .for_each(|(number, values)| work(number, values)),
    }
}

/// Calls `work(row, elements)` for every row of `width` elements; `cost` says how many simple operations an element takes.
pub(super) fn for_rows(
    values: &mut [f32],
    width: usize,
    cost: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    if width == 0 {
        return;
    }
    let rows_at_once = (WORTH_SPLITTING / (width * cost)).max(1);
    if is_alone() || values.len() <= rows_at_once * width {
        for (row, values) in values.chunks_mut(width).enumerate() {
            work(row, values);
        }
    } else {
        values
            .par_chunks_mut(width)
            .with_min_len(rows_at_once)
            .enumerate()
            .for_each(|(row, values)| work(row, values));
    }
}

/// Calls `work(start, elements)` for pieces of `values`, where `start` is the index of the piece's first element.
pub(super) fn for_pieces(values: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    const PIECE: usize = 8 * 1024;
    for_rows(values, PIECE, 1, |piece, values| {
        work(piece * PIECE, values)
    });
}

/// A tensor that is changed row by row together with others; of width 0 if it is absent.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    values: &'a mut [f32],
    width: usize,
}

impl<'a> Lane<'a> {
    /// Rows of `width` elements.
    pub(super) fn new(values: &'a mut [f32], width: usize) -> Self {
        let width = if values.is_empty() { 0 } else { width };
        Self { values, width }
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (first, second) = self.values.split_at_mut(row * self.width);
        let lane = |values| Self {
            values,
            width: self.width,
        };
        (lane(first), lane(second))
    }
}

/// Calls `work(row, elements of each lane)` for `rows` rows; `cost` says how many simple operations a row takes.
pub(super) fn for_lanes<const N: usize>(
    lanes: [Lane<'_>; N],
    rows: usize,
    cost: usize,
    work: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
) {
    let rows_at_once = (WORTH_SPLITTING / cost.max(1)).max(1);
    split_lanes(lanes, 0..rows, rows_at_once, work);
}

fn split_lanes<const N: usize>(
    mut lanes: [Lane<'_>; N],
    rows: Range<usize>,
    rows_at_once: usize,
    work: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
) {
    if rows.len() <= rows_at_once {
        for (index, row) in rows.enumerate() {
            let elements = |lane: &mut Lane<'_>| index * lane.width..(index + 1) * lane.width;
            let parts = lanes.each_mut().map(|lane| {
                let range = elements(lane);
                &mut lane.values[range]
            });
            work(row, parts);
        }
        return;
    }
    let half = rows.len() / 2;
    let middle = rows.start + half;
    let mut rest: [Option<Lane<'_>>; N] = array::from_fn(|_| None);
    let mut at = 0;
    let first = lanes.map(|lane| {
        let (first, second) = lane.split_at(half);
        rest[at] = Some(second);
        at += 1;
        first
    });
    let rest = rest.map(|lane| lane.unwrap_or(Lane::new(&mut [], 0)));
    join(
        || split_lanes(first, rows.start..middle, rows_at_once, work),
        || split_lanes(rest, middle..rows.end, rows_at_once, work),
    );
}

/// The sum of `term(i)` over a range in an order fixed by its length: halves added, blocks summed from the left.
pub(super) fn tree_sum(start: usize, len: usize, term: &(impl Fn(usize) -> f64 + Sync)) -> f64 {
    const BLOCK: usize = 16 * 1024;
    if len <= BLOCK {
        return (start..start + len).map(term).sum();
    }
    let left = (len / 2).next_multiple_of(BLOCK);
    let (a, b) = join(
        || tree_sum(start, left, term),
        || tree_sum(start + left, len - left, term),
    );
    a + b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_nothing_leaves_the_thread() {
        let caller = std::thread::current().id();
        let here = || assert_eq!(std::thread::current().id(), caller);
        let mut values = vec![0.0; 1 << 20];
        alone(|| {
            assert_eq!(threads(), 1);
            for_rows(&mut values, 7, 100, |_, _| here());
            for_pieces(&mut values, |_, _| here());
            for_chunks(&mut values, 999, |_, _| here());
            let lanes = [Lane::new(&mut values, 4)];
            for_lanes(lanes, 1 << 18, 1000, &|_, _| here());
            tree_sum(0, 1 << 20, &|_| {
                here();
                0.0
            });
            alone(here);
            assert!(is_alone(), "the inner one has ended the outer");
        });
        assert!(!is_alone());
        let panic = std::panic::catch_unwind(|| alone(|| panic!("on purpose")));
        assert!(panic.is_err() && !is_alone());
    }

    #[test]
    fn rows_and_pieces_cover_everything_once() {
        for (len, width) in [(0, 3), (7, 3), (200_001, 7), (65_536, 1), (100_000, 70_000)] {
            let mut rows = vec![0.0; len];
            for_rows(&mut rows, width, 3, |row, values| {
                values.iter_mut().for_each(|value| *value += row as f32);
            });
            let expected: Vec<f32> = (0..len).map(|i| (i / width) as f32).collect();
            assert_eq!(rows, expected);
            let mut pieces = vec![0.0; len];
            for_pieces(&mut pieces, |start, values| {
                for (i, value) in values.iter_mut().enumerate() {
                    *value += (start + i) as f32;
                }
            });
            let expected: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(pieces, expected);
        }
    }

    #[test]
    fn lanes_walk_together() {
        for rows in [0, 1, 5, 1000] {
            let (mut a, mut b) = (vec![0.0; rows * 3], vec![0.0; rows]);
            let lanes = [
                Lane::new(&mut a, 3),
                Lane::new(&mut [], 7),
                Lane::new(&mut b, 1),
            ];
            for_lanes(lanes, rows, 1000, &|row, [a, absent, b]| {
                assert!(absent.is_empty() && a.len() == 3);
                a.iter_mut().for_each(|value| *value += row as f32);
                b[0] -= row as f32;
            });
            assert!((0..3 * rows).all(|i| a[i] == (i / 3) as f32));
            assert!((0..rows).all(|i| b[i] == -(i as f32)));
        }
    }

    #[test]
    fn tree_sum_adds_each_term_once() {
        for len in [0, 1, 16_384, 16_385, 100_003] {
            let sum = tree_sum(5, len, &|i| i as f64);
            let exact = (5..5 + len).sum::<usize>() as f64;
            assert_eq!(sum, exact, "{len} terms");
        }
    }
}
