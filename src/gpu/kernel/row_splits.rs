//! How the rows of a sum are split over workgroups where its results are too few to fill a GPU.

/// What a kernel can take.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowSplits {
    /// Workgroups that fill a GPU some times over.
    pub(super) groups: usize,
    /// Rows of a split at least, as long as there are more.
    pub(super) fewest: usize,
    /// Rows of a split at most.
    pub(super) most: usize,
}

impl RowSplits {
    /// How many splits, and the rows of each, where the results are `beside` workgroups: whatever the adapter, so that the order
    /// of the sums is the same on all.
    pub(super) fn of(self, rows: usize, beside: usize) -> [usize; 2] {
        let most = rows.div_ceil(self.fewest).max(1);
        let wanted = (self.groups / beside.max(1)).clamp(1, most);
        let split_rows = rows.div_ceil(wanted).clamp(1, self.most);
        [rows.div_ceil(split_rows).max(1), split_rows]
    }
}

#[cfg(test)]
mod tests {
    use super::RowSplits;

    #[test]
    fn splits_cover_all_rows() {
        let most = 16 * 32_768;
        let limits = RowSplits {
            groups: 512,
            fewest: 512,
            most,
        };
        for rows in [0, 1, 511, 513, 100_000, most + 1, 40 * most] {
            for beside in [0, 1, 12, 511, 513, 1_000_000] {
                let [count, each] = limits.of(rows, beside);
                assert!(count * each >= rows && each <= most);
                assert!(count == 1 || (count - 1) * each < rows);
                assert!(count == 1 || count * beside <= 512 || each == most);
            }
        }
        assert_eq!(limits.of(5_000, 12), [10, 500]);
        assert_eq!(limits.of(5_000, 1_000), [1, 5_000]);
    }
}
