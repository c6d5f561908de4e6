//! The recurrent weights of a layer in panels.

use std::sync::Arc;

use super::cells::PlainCell;
use super::{Kind, with_cell};
use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::panels::{LaneRun, Panels};
use crate::cpu::simd::lanes;
use crate::error::Result;
use crate::ops::{BufferId, Recurrence};

/// Vectors of a panel of the backward's product.
pub(super) const BACKWARD_VECTORS: usize = 4;

/// Where a layer's panels come from.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct LayerSource {
    op: Recurrence,
    kind: Kind,
    /// Whether there is a backward.
    backward: bool,
}

impl LayerSource {
    /// The source of an operation's panels, if it is one that wants some.
    pub(in crate::cpu) fn new(op: &Recurrence, backward: bool) -> Option<Self> {
        let kind = super::kind(op)?;
        Some(Self {
            op: op.clone(),
            kind,
            backward,
        })
    }

    /// The buffer of the packed weights.
    pub(in crate::cpu) fn weights(&self) -> BufferId {
        self.op.weights
    }

    /// Takes on what another source wants too, if both are of the same layer.
    pub(in crate::cpu) fn merge(&mut self, other: &Self) -> bool {
        let key = |source: &Self| {
            let op = &source.op;
            (op.weights, source.kind, op.hidden, op.directions, op.layout)
        };
        let same = key(self) == key(other);
        self.backward |= same && other.backward;
        same
    }
}

/// A layer's panels, for each direction.
#[derive(Debug)]
pub(in crate::cpu) struct LayerPanels {
    /// By unit: the products of a vector of units.
    pub(super) forward: Vec<Panels>,
    /// By input: what comes back through the products.
    pub(super) backward: Vec<Panels>,
}

impl LayerPanels {
    /// Room for a layer's panels.
    pub(in crate::cpu) fn new(pool: &Arc<MemoryPool>, source: &LayerSource) -> Result<Self> {
        let (op, kind) = (&source.op, source.kind);
        let backward = if source.backward { op.directions } else { 0 };
        let forward = |_| with_cell!(kind, op, 0, cell => forward_panels(cell, pool, op.hidden));
        Ok(Self {
            forward: (0..op.directions).map(forward).collect::<Result<_>>()?,
            backward: (0..backward)
                .map(|_| {
                    let terms = with_cell!(kind, op, 0, cell => product_width(cell, op.hidden));
                    let panels = op.hidden.div_ceil(lanes() * BACKWARD_VECTORS);
                    Panels::new(pool, [panels, terms, BACKWARD_VECTORS])
                })
                .collect::<Result<_>>()?,
        })
    }

    /// Fills them from the packed weights of all directions.
    pub(in crate::cpu) fn fill(&mut self, source: &LayerSource, packed: &[f32]) {
        let (op, kind) = (&source.op, source.kind);
        let weights =
            |direction: usize| &packed[direction * op.layout.len() + op.layout.recurrent..];
        for (direction, panels) in self.forward.iter_mut().enumerate() {
            let weights = weights(direction);
            with_cell!(kind, op, direction, cell => fill_forward(cell, op.hidden, weights, panels));
        }
        for (direction, panels) in self.backward.iter_mut().enumerate() {
            let weights = weights(direction);
            with_cell!(kind, op, direction, cell => fill_backward(cell, op.hidden, weights, panels));
        }
    }

    /// Elements.
    pub(in crate::cpu) fn len(&self) -> usize {
        self.forward
            .iter()
            .chain(&self.backward)
            .map(Panels::len)
            .sum()
    }
}

/// Elements of the gradients of a sequence's recurrent products: vector by vector of units, of each the products'.
pub(super) fn product_width<const V: usize>(_: impl PlainCell<V>, hidden: usize) -> usize {
    hidden.next_multiple_of(lanes()) * V
}

fn forward_panels<const V: usize>(
    _: impl PlainCell<V>,
    pool: &Arc<MemoryPool>,
    hidden: usize,
) -> Result<Panels> {
    Panels::new(pool, [hidden.div_ceil(lanes()), hidden, V])
}

fn fill_forward<C: PlainCell<V>, const V: usize>(
    _: C,
    hidden: usize,
    weights: &[f32],
    panels: &mut Panels,
) {
    let lanes = lanes();
    panels.fill(weights, |panel, input, v| {
        let unit = panel * lanes;
        LaneRun {
            start: (input * hidden + unit) * C::UNIT + C::PRODUCTS[v],
            stride: C::UNIT,
            len: hidden - unit,
        }
    });
}

fn fill_backward<C: PlainCell<V>, const V: usize>(
    _: C,
    hidden: usize,
    weights: &[f32],
    panels: &mut Panels,
) {
    let lanes = lanes();
    panels.fill(weights, |panel, term, vector| {
        let input = (panel * BACKWARD_VECTORS + vector) * lanes;
        let (block, within) = (term / (V * lanes), term % (V * lanes));
        let unit = block * lanes + within % lanes;
        LaneRun {
            start: (input * hidden + unit) * C::UNIT + C::PRODUCTS[within / lanes],
            stride: hidden * C::UNIT,
            len: if unit < hidden {
                hidden.saturating_sub(input)
            } else {
                0
            },
        }
    });
}
