//! The fast way for cells as most networks have them: sigmoid and hyperbolic tangent, no clip, no normalisation, no
//! peephole, no zoneout, no projection, no recurrent dropout.
//!
//! A thread takes a [tile](super::tile) of sequences through all timesteps. In each, the recurrent products of a
//! vector of units and a few sequences, and where many sequences run the input's products before them, are summed in registers
//! over a panel of weights, the cell's arithmetic is done on the sums where they are, and only states (and, for a backward to
//! come, gates) are written. Nothing waits for another thread, and nothing is allocated.
//!
//! | file | what |
//! |---|---|
//! | `cells` | the arithmetic of a vector of units, both ways |
//! | `weights` | the panels of a layer, packed once for each version of the weights |
//! | `units` | a vector of units in a step of the forward |
//! | `forward`, `backward` | the steps of a tile |
//! | `single` | the forward's steps of a single sequence |
//! | `weight_gradients` | the products with what entered, summed tile by tile |

mod backward;
mod cells;
mod forward;
mod single;
mod units;
mod weight_gradients;
mod weights;

pub(super) use backward::{Given, MOST_SEQUENCES, Products, backward, scratch_width};
pub(super) use forward::forward;
pub(super) use single::suits as suits_single;
pub(super) use units::Entering;
pub(super) use weight_gradients::{WeightGradients, collect, partial_len};
pub(super) use weights::{LayerPanels, LayerSource};

use crate::config::{Activation, Activations, Cell, CellSpec, Clip, GruReset, GruUpdate};
use crate::ops::Recurrence;
use cells::{Elman, Gru};

/// Which of the cells it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Elman,
    Lstm,
    Gru,
}

/// The kind of an operation's cell, if it is one that is served here.
pub(super) fn kind(op: &Recurrence) -> Option<Kind> {
    let spec = &op.spec;
    let plain = spec.clip == Clip::default()
        && spec.layer_norm.is_none()
        && spec.peephole.is_none()
        && spec.coupled.is_none()
        && spec.projection.is_none()
        && spec.zoneout.hidden == 0.0
        && spec.zoneout.cell == 0.0
        && op.states.mask.is_none()
        && spec.activations.iter().all(|of| served(spec, of));
    match (plain, spec.cell) {
        (false, _) => None,
        (true, Cell::Elman) => Some(Kind::Elman),
        (true, Cell::Lstm) => Some(Kind::Lstm),
        (true, Cell::Gru) if spec.reset == GruReset::After => Some(Kind::Gru),
        (true, Cell::Gru) => None,
    }
}

fn served(spec: &CellSpec, of: &Activations) -> bool {
    let gates = of.gate == Activation::Sigmoid;
    match spec.cell {
        Cell::Elman => matches!(of.candidate, Activation::Tanh | Activation::Relu),
        Cell::Gru => gates && of.candidate == Activation::Tanh,
        Cell::Lstm => gates && of.candidate == Activation::Tanh && of.hidden == Activation::Tanh,
    }
}

/// Calls `$work` with the cell of direction `$direction`.
macro_rules! with_cell {
    ($kind:expr, $op:expr, $direction:expr, $cell:ident => $work:expr) => {
        match $kind {
            $crate::cpu::plain::Kind::Elman => {
                let $cell = $crate::cpu::plain::elman($op, $direction);
                $work
            }
            $crate::cpu::plain::Kind::Lstm => {
                let $cell = $crate::cpu::plain::cells::Lstm;
                $work
            }
            $crate::cpu::plain::Kind::Gru => {
                let $cell = $crate::cpu::plain::gru($op);
                $work
            }
        }
    };
}
use with_cell;

fn elman(op: &Recurrence, direction: usize) -> Elman {
    Elman {
        relu: op.spec.activations[direction].candidate == Activation::Relu,
    }
}

fn gru(op: &Recurrence) -> Gru {
    Gru {
        take_new: op.spec.update == GruUpdate::TakeNew,
    }
}
