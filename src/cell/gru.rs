//! The GRU cell in its two forms; see [`GruReset`](crate::GruReset).

use super::number::clip;
use super::real::{Real, activate};
use crate::config::{Activations, CellSpec, GruUpdate};

/// Reset after the product: the new state from the slots `r z n q`, where `n` is the candidate's input half and `q` its
/// recurrent half, each with its bias, and the old state.
#[inline(always)]
pub fn gru_after<T: Real>(spec: &CellSpec, activations: &Activations, pre: [T; 4], h_prev: T) -> T {
    let [r, z, n, q] = pre;
    let r = activate(activations.gate, clip(r, spec.clip.gates));
    update(spec, activations, [z, n + r * q], h_prev)
}

/// Reset before the product, first stage: what enters the candidate's product, `r * u`, from the reset gate's
/// pre-activation and the state `u` that enters the recurrent products.
#[inline(always)]
pub fn gru_reset<T: Real>(spec: &CellSpec, activations: &Activations, pre_r: T, u: T) -> T {
    activate(activations.gate, clip(pre_r, spec.clip.gates)) * u
}

/// Reset before the product, second stage: the new state from the pre-activations of `z` and `n` and the old state.
#[inline(always)]
pub fn gru_before<T: Real>(
    spec: &CellSpec,
    activations: &Activations,
    pre: [T; 2],
    h_prev: T,
) -> T {
    update(spec, activations, pre, h_prev)
}

/// The old state and the candidate, blended by the update gate.
#[inline(always)]
fn update<T: Real>(spec: &CellSpec, activations: &Activations, [z, n]: [T; 2], h_prev: T) -> T {
    let z = activate(activations.gate, clip(z, spec.clip.gates));
    let n = activate(activations.candidate, clip(n, spec.clip.gates));
    let (old, new) = match spec.update {
        GruUpdate::KeepOld => (z, z.constant(1.0) - z),
        GruUpdate::TakeNew => (z.constant(1.0) - z, z),
    };
    old * h_prev + new * n
}
