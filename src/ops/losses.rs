//! Losses and their gradients.

use crate::ops::Region;

/// Mean squared error and its gradient: `loss[0] = sum((p - t)^2) / len`, `gradient = 2 (p - t) / len`.
#[derive(Debug, Clone, Copy)]
pub struct MeanSquaredError {
    /// `[len]`
    pub prediction: Region,
    /// `[len]`
    pub target: Region,
    /// `[len]`, written.
    pub gradient: Region,
    /// One element, written.
    pub loss: Region,
    /// Elements.
    pub len: usize,
}
