//! Normalisation of rows.

use crate::ops::Region;

/// Normalises rows in place. A row is `[hidden, slots]`; the slots of `slot_mask` (bit `s` for slot `s`) are normalised
/// together to mean 0 and variance 1 (`epsilon` added to the variance), then scaled and shifted by `scale` and `bias`
/// (`[hidden, slots]` each); the other slots become `bias`. `deviation[row]` receives `1 / sqrt(variance + epsilon)`.
/// With `scale` or `bias` absent, 1 and 0 are used.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormRows {
    /// `[rows, hidden, slots]`, changed in place.
    pub values: Region,
    /// `[rows]`, written.
    pub deviation: Region,
    /// `[hidden, slots]`
    pub scale: Option<Region>,
    /// `[hidden, slots]`
    pub bias: Option<Region>,
    /// Rows.
    pub rows: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Slots of a unit.
    pub slots: usize,
    /// Which slots are normalised together.
    pub slot_mask: u32,
    /// Added to the variance.
    pub epsilon: f32,
}

/// The backward of [`LayerNormRows`]: `normalised` (`[rows, hidden, slots]`, the normalised values before scale and bias)
/// is replaced by the gradient of the raw values,
/// `deviation * (scale * d - mean(scale * d) - normalised * mean(scale * d * normalised))`, where `d` is `gradient` and the
/// means run over the slots of `slot_mask`; the other slots become 0.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormRowsBackward {
    /// Normalised values in, gradient out.
    pub normalised: Region,
    /// `[rows]`, as written by the forward.
    pub deviation: Region,
    /// `[hidden, slots]`
    pub scale: Region,
    /// `[rows, hidden, slots]`
    pub gradient: Region,
    /// Rows.
    pub rows: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Slots of a unit.
    pub slots: usize,
    /// Which slots were normalised together.
    pub slot_mask: u32,
}
