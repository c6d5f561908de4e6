//! Which elements of a plan's buffers still hold what an earlier plan left there.
//!
//! A program's buffers are zeros when it is loaded. Memory of an [earlier plan](super::memory_pool) is not, and clearing all of
//! it would cost a good part of a short run. So elements are cleared when an operation or the host is about to read
//! them, and those that are replaced before never are.

use std::ops::Range;

use crate::cpu::access::{Part, Touched};
use crate::cpu::memory::Memory;
use crate::error::Result;
use crate::ops::BufferId;

/// For each buffer the ranges that are stale.
#[derive(Debug, Default)]
pub(super) struct Stale {
    of_buffer: Vec<Vec<Range<usize>>>,
}

impl Stale {
    /// The first elements of each buffer, so many as `lengths` says.
    pub(super) fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        // One range a buffer, or none.
        let whole = |len: usize| Vec::from_iter((len > 0).then_some(0..len));
        Self {
            of_buffer: lengths.into_iter().map(whole).collect(),
        }
    }

    /// Clears what an operation could read of stale elements.
    pub(super) fn before(&mut self, touched: &Touched, memory: &Memory) -> Result<()> {
        for part in &touched.all {
            for stale in overlap(&self.of_buffer[part.buffer.0], &part.range) {
                let mut seen = vec![stale];
                for unseen in touched.replaced.iter().chain(&touched.left_alone) {
                    if unseen.buffer == part.buffer {
                        subtract(&mut seen, &unseen.range);
                    }
                }
                for range in seen {
                    memory.write(part.buffer)?[range.clone()].fill(0.0);
                    subtract(&mut self.of_buffer[part.buffer.0], &range);
                }
            }
        }
        Ok(())
    }

    /// An operation is done: what it replaced is its own.
    pub(super) fn after(&mut self, touched: &Touched) {
        for Part { buffer, range } in &touched.replaced {
            subtract(&mut self.of_buffer[buffer.0], range);
        }
    }

    /// Clears what the host could read of a buffer.
    pub(super) fn settle(&mut self, buffer: BufferId, memory: &Memory) -> Result<()> {
        if !self.of_buffer[buffer.0].is_empty() {
            let mut values = memory.write(buffer)?;
            for range in self.of_buffer[buffer.0].drain(..) {
                values[range].fill(0.0);
            }
        }
        Ok(())
    }

    /// The host replaced a whole buffer.
    pub(super) fn replaced(&mut self, buffer: BufferId) {
        self.of_buffer[buffer.0].clear();
    }
}

/// What `ranges` and `range` have in common.
fn overlap(ranges: &[Range<usize>], range: &Range<usize>) -> Vec<Range<usize>> {
    let common = |own: &Range<usize>| own.start.max(range.start)..own.end.min(range.end);
    let common = ranges.iter().map(common);
    common.filter(|common| !common.is_empty()).collect()
}

/// Takes `range` away from all of `ranges`.
fn subtract(ranges: &mut Vec<Range<usize>>, range: &Range<usize>) {
    let apart = |own: &Range<usize>| own.end <= range.start || range.end <= own.start;
    if range.is_empty() || ranges.iter().all(apart) {
        return;
    }
    let rest = |own: &Range<usize>| {
        let before = own.start..own.end.min(range.start);
        let after = own.start.max(range.end)..own.end;
        [before, after]
    };
    let rest = ranges.iter().flat_map(rest);
    *ranges = rest.filter(|rest| !rest.is_empty()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_taken_away_and_met() {
        let mut ranges = vec![0..10, 20..30];
        subtract(&mut ranges, &(30..40));
        subtract(&mut ranges, &(4..4));
        assert_eq!(ranges, [0..10, 20..30]);
        subtract(&mut ranges, &(4..6));
        assert_eq!(ranges, [0..4, 6..10, 20..30]);
        assert_eq!(overlap(&ranges, &(3..22)), [3..4, 6..10, 20..22]);
        subtract(&mut ranges, &(3..22));
        assert_eq!(ranges, [0..3, 22..30]);
        subtract(&mut ranges, &(0..usize::MAX));
        assert!(ranges.is_empty());
    }
}
