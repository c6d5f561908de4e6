//! From the directions' rows to a layer's output and back.

use crate::ops::{Region, TableOffset};

/// From the directions' states in processing order to a layer's output in input time, `[tokens, width or 2 * width]`:
/// `output[token] = concat or sum over d of states[d][row_d(token)] (+ residual[token])`, where `row_d(token)` is `token`
/// for a forward direction and `reverse[token]` for a reverse one.
#[derive(Debug, Clone, Copy)]
pub struct MergeDirections {
    /// For each direction the rows, `[tokens, width]` in processing order.
    pub states: [Option<Region>; 2],
    /// Which directions run backwards.
    pub reverse: [bool; 2],
    /// The permutation between input time and the reverse direction's processing order.
    pub table: TableOffset,
    /// `[tokens, output width]`
    pub output: Region,
    /// Added to the output.
    pub residual: Option<Region>,
    /// Rows.
    pub tokens: usize,
    /// State units of a direction.
    pub width: usize,
    /// Adds the two directions instead of concatenating them.
    pub sum: bool,
}

impl MergeDirections {
    /// Elements of an output row.
    pub fn output_width(&self) -> usize {
        if self.states[1].is_some() && !self.sum {
            2 * self.width
        } else {
            self.width
        }
    }
}

/// The backward of [`MergeDirections`] without its residual: from the output's gradient in input time to each
/// direction's rows in processing order (`states` are written, `output` is read).
#[derive(Debug, Clone, Copy)]
pub struct SplitDirections {
    /// For each direction the rows to write, `[tokens, width]` in processing order.
    pub states: [Option<Region>; 2],
    /// Which directions run backwards.
    pub reverse: [bool; 2],
    /// The permutation between input time and the reverse direction's processing order.
    pub table: TableOffset,
    /// The output's gradient, `[tokens, output width]`.
    pub output: Region,
    /// Rows.
    pub tokens: usize,
    /// State units of a direction.
    pub width: usize,
    /// Both directions receive the whole gradient.
    pub sum: bool,
}
