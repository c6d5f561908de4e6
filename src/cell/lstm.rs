//! The LSTM cell.
//!
//! Per unit: gates `i f o`, candidate `g`, cell state `c` to `c2`, output `m` (the hidden state, or with a projection what
//! enters it):
//!
//! `c2 = clip(f * c + i * g)`, `m = o * act(clip(c2))`

use super::number::clip;
use super::real::{Real, activate};
use crate::config::{Activations, CellSpec, Coupled, Peephole};

/// The new cell state from the pre-activations of `i f g` (peepholes included) and the old cell state. With coupled gates
/// the derived gate's pre-activation is ignored.
#[inline(always)]
pub fn lstm_cell<T: Real>(spec: &CellSpec, activations: &Activations, pre: [T; 3], c_prev: T) -> T {
    let [i, f, g] = pre;
    let i = activate(activations.gate, clip(i, spec.clip.gates));
    let f = activate(activations.gate, clip(f, spec.clip.gates));
    let g = activate(activations.candidate, clip(g, spec.clip.gates));
    let one = g.constant(1.0);
    let (i, f) = match spec.coupled {
        None => (i, f),
        Some(Coupled::ForgetFromInput) => (i, one - i),
        Some(Coupled::InputFromForget) => (one - f, f),
    };
    clip(f * c_prev + i * g, spec.clip.cell)
}

/// The output from the output gate's pre-activation (peephole included) and what enters the output activation: the new
/// cell state, or its normalised value.
#[inline(always)]
pub fn lstm_output<T: Real>(
    spec: &CellSpec,
    activations: &Activations,
    pre_o: T,
    hidden_input: T,
) -> T {
    let o = activate(activations.gate, clip(pre_o, spec.clip.gates));
    o * activate(activations.hidden, clip(hidden_input, spec.clip.hidden))
}

/// The two halves together, without a normalisation: `[c2, m]` from the pre-activations of `i f g o` without peephole
/// terms, the old cell state and the peephole weights of `i f o` (not looked at if the cell has none).
#[inline(always)]
pub fn lstm_unit<T: Real>(
    spec: &CellSpec,
    activations: &Activations,
    pre: [T; 4],
    c_prev: T,
    peephole: [T; 3],
) -> [T; 2] {
    let [i, f, g, o] = pre;
    let [i, f] = add_peepholes(spec, [i, f], [peephole[0], peephole[1]], c_prev);
    let c2 = lstm_cell(spec, activations, [i, f, g], c_prev);
    let seen = match spec.peephole {
        Some(Peephole::Old) => c_prev,
        _ => c2,
    };
    let [o] = add_peepholes(spec, [o], [peephole[2]], seen);
    [c2, lstm_output(spec, activations, o, c2)]
}

/// `pre + peephole * c` if the cell has peepholes, else `pre`.
#[inline(always)]
pub fn add_peepholes<T: Real, const N: usize>(
    spec: &CellSpec,
    pre: [T; N],
    peephole: [T; N],
    c: T,
) -> [T; N] {
    match spec.peephole {
        None => pre,
        Some(_) => {
            let mut sums = pre;
            for at in 0..N {
                sums[at] = pre[at] + peephole[at] * c;
            }
            sums
        }
    }
}
