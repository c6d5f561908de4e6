//! The weights of a layer in panels.

use std::array;
use std::sync::Arc;

use super::cells::PlainCell;
use super::{Kind, with_cell};
use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::panels::{LaneRun, Panels};
use crate::cpu::simd::{SLOTS, lanes};
use crate::error::Result;
use crate::ops::{BufferId, Recurrence};

/// Vectors of a panel of the backward's product.
pub(super) const BACKWARD_VECTORS: usize = 4;

/// Where a layer's panels come from.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct LayerSource {
    op: Recurrence,
    kind: Kind,
    /// Inputs, if their weights are wanted too.
    inputs: Option<usize>,
    /// Whether there is a backward.
    backward: bool,
}

impl LayerSource {
    /// The source of an operation's panels, if it is one that wants some.
    pub(in crate::cpu) fn new(op: &Recurrence) -> Option<Self> {
        let kind = super::kind(op)?;
        Some(Self {
            op: op.clone(),
            kind,
            inputs: None,
            backward: false,
        })
    }

    /// The weights of `inputs` inputs, too.
    pub(in crate::cpu) fn with_inputs(self, inputs: usize) -> Self {
        let inputs = Some(inputs);
        Self { inputs, ..self }
    }

    /// What the backward needs, too.
    pub(in crate::cpu) fn with_backward(self) -> Self {
        let backward = true;
        Self { backward, ..self }
    }

    /// The buffer of the packed weights.
    pub(in crate::cpu) fn weights(&self) -> BufferId {
        self.op.weights.buffer
    }

    /// Takes on what another source wants too, if both are of the same layer.
    pub(in crate::cpu) fn merge(&mut self, other: &Self) -> bool {
        let key = |source: &Self| {
            let op = &source.op;
            (op.weights, source.kind, op.hidden, op.directions, op.layout)
        };
        let same = key(self) == key(other);
        if same {
            self.backward |= other.backward;
            self.inputs = self.inputs.or(other.inputs);
        }
        same
    }
}

/// A layer's panels, for each direction.
#[derive(Debug)]
pub(in crate::cpu) struct LayerPanels {
    /// By unit: the products of a vector of units.
    pub(super) forward: Vec<Panels>,
    /// By unit: the input's products.
    pub(super) input: Vec<Panels>,
    /// By unit: the biases, in a panel of one term.
    pub(super) bias: Vec<Panels>,
    /// By input: what comes back through the products.
    pub(super) backward: Vec<Panels>,
}

impl LayerPanels {
    /// Room for a layer's panels.
    pub(in crate::cpu) fn new(pool: &Arc<MemoryPool>, source: &LayerSource) -> Result<Self> {
        with_cell!(source.kind, &source.op, 0, cell => Self::of_cell(pool, source, cell))
    }

    fn of_cell<C: PlainCell<V>, const V: usize>(
        pool: &Arc<MemoryPool>,
        source: &LayerSource,
        cell: C,
    ) -> Result<Self> {
        let hidden = source.op.hidden;
        let units = hidden.div_ceil(lanes());
        let of_directions = |wanted: bool, shape: [usize; 3]| {
            let directions = if wanted { source.op.directions } else { 0 };
            (0..directions)
                .map(|_| Panels::new(pool, shape))
                .collect::<Result<_>>()
        };
        let inputs = source.inputs.unwrap_or(0);
        let columns = hidden.div_ceil(lanes() * BACKWARD_VECTORS);
        let terms = product_width(cell, hidden);
        Ok(Self {
            forward: of_directions(true, [units, hidden, V])?,
            input: of_directions(source.inputs.is_some(), [units, inputs, V])?,
            bias: of_directions(source.inputs.is_some(), [units, 1, C::UNIT])?,
            backward: of_directions(source.backward, [columns, terms, BACKWARD_VECTORS])?,
        })
    }

    /// Fills them from the buffer of the packed weights.
    pub(in crate::cpu) fn fill(&mut self, source: &LayerSource, packed: &[f32]) {
        let packed = &packed[source.op.weights.offset..];
        with_cell!(source.kind, &source.op, 0, cell => self.fill_of_cell(source, cell, packed));
    }

    fn fill_of_cell<C: PlainCell<V>, const V: usize>(
        &mut self,
        source: &LayerSource,
        cell: C,
        packed: &[f32],
    ) {
        let (op, layout) = (&source.op, &source.op.layout);
        let weights = |direction: usize, part: usize| &packed[direction * layout.len() + part..];
        for (direction, panels) in self.forward.iter_mut().enumerate() {
            let weights = weights(direction, layout.recurrent);
            fill_by_unit::<C, V, V>(op.hidden, C::PRODUCTS, weights, panels);
        }
        for (direction, panels) in self.input.iter_mut().enumerate() {
            let weights = weights(direction, layout.input);
            fill_by_unit::<C, V, V>(op.hidden, C::INPUTS, weights, panels);
        }
        for (direction, panels) in self.bias.iter_mut().enumerate() {
            let weights = weights(direction, layout.input_bias);
            fill_by_unit::<C, V, SLOTS>(op.hidden, array::from_fn(|slot| slot), weights, panels);
        }
        for (direction, panels) in self.backward.iter_mut().enumerate() {
            let weights = weights(direction, layout.recurrent);
            fill_backward(cell, op.hidden, weights, panels);
        }
    }

    /// Elements.
    pub(in crate::cpu) fn len(&self) -> usize {
        let of_directions = [&self.forward, &self.input, &self.bias, &self.backward];
        of_directions.into_iter().flatten().map(Panels::len).sum()
    }
}

/// Elements of the gradients of a sequence's recurrent products: vector by vector of units, of each the products'.
pub(super) fn product_width<const V: usize>(_: impl PlainCell<V>, hidden: usize) -> usize {
    hidden.next_multiple_of(lanes()) * V
}

/// Of `[terms, hidden, slots]` for each vector of units the slots that are asked for.
fn fill_by_unit<C: PlainCell<V>, const V: usize, const N: usize>(
    hidden: usize,
    slots: [usize; N],
    weights: &[f32],
    panels: &mut Panels,
) {
    let lanes = lanes();
    panels.fill(weights, |panel, term, vector| {
        let unit = panel * lanes;
        LaneRun {
            start: (term * hidden + unit) * C::UNIT + slots[vector],
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
