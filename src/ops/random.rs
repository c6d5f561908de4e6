//! Operations that draw random numbers.

use crate::ops::{Region, TableOffset};

/// Which random numbers an element draws; see [`crate::random`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomSite {
    /// Layer.
    pub layer: u32,
    /// Direction; 0 where there is none.
    pub direction: u32,
    /// What the numbers are for.
    pub purpose: RandomPurpose,
}

/// What random numbers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomPurpose {
    /// Dropout between layers.
    Between = 0,
    /// Variational dropout on a layer's input.
    Input = 1,
    /// Variational dropout on the recurrent state.
    Recurrent = 2,
    /// Zoneout of the hidden state.
    ZoneoutHidden = 3,
    /// Zoneout of the cell state.
    ZoneoutCell = 4,
    /// Dropout around a network: [`nn::Dropout`](crate::nn::Dropout), whose number is the site's layer.
    Head = 5,
}

impl RandomSite {
    /// The word of the generator's counter that tells sites apart.
    pub fn word(self) -> u32 {
        (self.layer << 4) | (self.direction << 3) | self.purpose as u32
    }
}

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
