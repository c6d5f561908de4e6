//! One direction of a layer, and what goes through its steps.

use std::ops::Range;

use super::float::{Float, stored};
use crate::config::{Activations, CellSpec, Mode, RnnConfig};
use crate::params::{ParameterKind, ParameterLayout};

/// What dropout and zoneout draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawing {
    /// Whether they draw.
    pub mode: Mode,
    /// From which seed.
    pub seed: u64,
    /// The number of the first layer: see [`NetworkOptions::first_site`](crate::NetworkOptions::first_site).
    pub first_site: usize,
}

impl Drawing {
    /// The number of a layer for what it draws.
    pub(super) fn site(self, layer: usize) -> u32 {
        (self.first_site + layer) as u32
    }
}

/// One direction of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a, T> {
    pub(super) config: &'a RnnConfig,
    pub(super) layout: &'a ParameterLayout,
    pub(super) parameters: &'a [T],
    pub(super) drawing: Drawing,
    pub(super) layer: usize,
    pub(super) direction: usize,
}

/// Where a step is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Row of the layer's input.
    pub(super) token: usize,
    /// The caller's index of the sequence.
    pub(super) sequence: u32,
    /// Steps of the sequence that this direction has taken before.
    pub(super) step: u32,
}

/// The state of one sequence, or its gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values<T> {
    /// `[state size]`
    pub(super) h: Vec<T>,
    /// `[hidden]`; empty for cells without one.
    pub(super) c: Vec<T>,
}

impl<T: Float> Values<T> {
    /// The same as it comes back from storage.
    pub(super) fn stored(&self) -> Self {
        Self {
            h: stored(&self.h),
            c: stored(&self.c),
        }
    }
}

/// What enters a cell, `[gates * hidden]` each, in PyTorch's order of gates; or its gradient.
#[derive(Debug, Clone)]
pub(super) struct Sides<T> {
    pub(super) input: Vec<T>,
    pub(super) recurrent: Vec<T>,
}

/// The gradient of what entered a cell.
#[derive(Debug)]
pub(super) struct CellGradient<T> {
    pub(super) sides: Sides<T>,
    /// Of the state before the step, without the recurrent products' part.
    pub(super) before: Values<T>,
    /// Of the state that enters a product inside the cell; empty if there is none.
    pub(super) u: Vec<T>,
}

impl<'a, T: Float> Layer<'a, T> {
    pub(super) fn spec(&self) -> &'a CellSpec {
        self.config.spec()
    }

    pub(super) fn activations(&self) -> &'a Activations {
        &self.spec().activations[self.direction]
    }

    /// Where a parameter lies; an empty range if the configuration does not have it.
    pub(super) fn place(&self, kind: ParameterKind) -> Range<usize> {
        match self.layout.find(self.layer, self.direction, kind) {
            Some(entry) => entry.offset..entry.offset + entry.len(),
            None => 0..0,
        }
    }

    pub(super) fn parameter(&self, kind: ParameterKind) -> &'a [T] {
        &self.parameters[self.place(kind)]
    }
}
