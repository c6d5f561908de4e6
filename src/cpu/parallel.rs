//! Splitting work over threads where it is worth it. What a piece computes never depends on how the work was split.

use rayon::prelude::*;

/// Fewer element operations than this are done by one thread: waking another costs as much.
const WORTH_SPLITTING: usize = 32 * 1024;

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
    if values.len() <= rows_at_once * width {
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

/// The sum of `term(i)` over a range in an order fixed by its length: halves added, blocks summed from the left.
pub(super) fn tree_sum(start: usize, len: usize, term: &(impl Fn(usize) -> f64 + Sync)) -> f64 {
    const BLOCK: usize = 16 * 1024;
    if len <= BLOCK {
        return (start..start + len).map(term).sum();
    }
    let left = (len / 2).next_multiple_of(BLOCK);
    let (a, b) = rayon::join(
        || tree_sum(start, left, term),
        || tree_sum(start + left, len - left, term),
    );
    a + b
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn tree_sum_adds_each_term_once() {
        for len in [0, 1, 16_384, 16_385, 100_003] {
            let sum = tree_sum(5, len, &|i| i as f64);
            let exact = (5..5 + len).sum::<usize>() as f64;
            assert_eq!(sum, exact, "{len} terms");
        }
    }
}
