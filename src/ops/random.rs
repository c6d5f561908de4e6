//! Operations that draw random numbers.

use crate::ops::{Region, TableOffset};
use crate::random::RandomSite;

/// `target[r, c] = source[r, c] * mask(r, c)`, where the mask is 0 with `probability` and `1 / (1 - probability)` else,
/// drawn from (seed, site, `sequences[r]`, `steps[r]`, `c`); without `steps` the same for all steps of a sequence. With no
/// `source` the mask itself is written. `source` may be the very region `target`, then the change is in place.
#[derive(Debug, Clone, Copy)]
pub struct DropoutRows {
    /// `[rows, width]`
    pub source: Option<Region>,
    /// `[rows, width]`
    pub target: Region,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub width: usize,
    /// The caller's sequence index of each row.
    pub sequences: TableOffset,
    /// The step of each row.
    pub steps: Option<TableOffset>,
    /// Probability of a zero.
    pub probability: f32,
    /// Which numbers.
    pub site: RandomSite,
}
