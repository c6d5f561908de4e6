//! Matrix products and sums of columns.

use crate::ops::{Region, TableOffset};

/// A strided matrix: element (row, column) lies at `region.offset + row * strides[0] + column * strides[1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// First element.
    pub region: Region,
    /// Strides of a row and of a column.
    pub strides: [usize; 2],
}

impl Matrix {
    /// Rows of `width` contiguous elements.
    pub fn rows(region: impl Into<Region>, width: usize) -> Self {
        Self {
            region: region.into(),
            strides: [width, 1],
        }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            region: self.region,
            strides: [self.strides[1], self.strides[0]],
        }
    }
}

/// Which index of a [`Gemm`] goes through the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowMap {
    /// Row `i` of `a` is row `table[i]`: a gather of the `m` rows.
    GatherM(TableOffset),
    /// Column `p` of `a` is column `table[p]`: a gather along the contracted dimension.
    GatherK(TableOffset),
    /// Row `i` of `c` is row `table[i]`: a scatter of the result.
    ScatterM(TableOffset),
}

/// `c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n] + bias[n]`. `c`'s buffer differs from `a`'s, `b`'s and `bias`'s.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    /// `[m, k]`
    pub a: Matrix,
    /// `[k, n]`
    pub b: Matrix,
    /// `[m, n]`
    pub c: Matrix,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// An index through the table.
    pub map: Option<RowMap>,
    /// `[n]`, added to every row.
    pub bias: Option<Region>,
    /// Adds to `c` instead of replacing it.
    pub accumulate: bool,
}

/// `target[c] = (accumulate ? target[c] : 0) + sum over r of a[r, c] * (b ? b[r, c] : 1)`. `a` and `b` have rows of
/// `columns` contiguous elements with the given strides. `target` lies in another buffer than both.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSums {
    /// `[rows, columns]`
    pub a: Region,
    /// Elements from one row of `a` to the next.
    pub a_stride: usize,
    /// `[rows, columns]`, multiplied in if given.
    pub b: Option<Region>,
    /// Elements from one row of `b` to the next.
    pub b_stride: usize,
    /// `[columns]`
    pub target: Region,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Adds to the target instead of replacing it.
    pub accumulate: bool,
}
