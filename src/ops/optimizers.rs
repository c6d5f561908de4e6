//! What happens to gradients: norms, and steps of the optimizers.

use crate::ops::Region;

/// `target[0] = sum of values[i]^2`, in a fixed order.
#[derive(Debug, Clone, Copy)]
pub struct SquaredNorm {
    /// `[len]`
    pub values: Region,
    /// One element, written.
    pub target: Region,
    /// Elements.
    pub len: usize,
}

/// One step of Adam (Kingma and Ba 2015, PyTorch's form) with clipping by the global norm:
/// `g *= min(1, max_norm / (sqrt(squared_norm) + 1e-6))`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `p -= rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon)`.
///
/// `settings` holds eight elements that the host writes before a step: learning rate, b1, b2, epsilon, `1 - b1^t`,
/// `sqrt(1 - b2^t)`, the largest norm (0: no clipping), and one unused.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// `[len]`, updated.
    pub parameters: Region,
    /// `[len]`
    pub gradients: Region,
    /// `[2, len]`: m, then v; updated.
    pub moments: Region,
    /// Squared norm of all gradients.
    pub squared_norm: Region,
    /// Eight elements.
    pub settings: Region,
    /// Elements.
    pub len: usize,
}
