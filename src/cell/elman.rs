//! The Elman cell.

use super::number::clip;
use super::real::{Real, activate};
use crate::config::{Activations, CellSpec};

/// `h' = act(clip(pre))`, with the `candidate` activation.
#[inline(always)]
pub fn elman_unit<T: Real>(spec: &CellSpec, activations: &Activations, pre: T) -> T {
    activate(activations.candidate, clip(pre, spec.clip.gates))
}
