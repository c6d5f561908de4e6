//! The weights of a layer in panels.

use std::array;
use std::sync::Arc;

use pulp::Arch;

use super::cells::PlainCell;
use super::{Kind, with_cell};
use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::panels::{LaneRun, Panels};
use crate::cpu::row_product::vectors;
use crate::cpu::simd::{SLOTS, lanes};
use crate::error::Result;
use crate::ops::{BufferId, Recurrence};

/// Where a layer's panels come from.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct LayerSource {
    op: Recurrence,
    kind: Kind,
    /// Inputs, if their weights are wanted too.
    inputs: Option<usize>,
    /// Whether there is a backward.
    backward: bool,
    /// Inputs whose gradients are wanted, if any.
    input_gradients: Option<usize>,
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
            input_gradients: None,
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

    /// What the gradients of `inputs` inputs need, too.
    pub(in crate::cpu) fn with_input_gradients(self, inputs: usize) -> Self {
        let input_gradients = Some(inputs);
        Self {
            input_gradients,
            ..self
        }
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
            self.input_gradients = self.input_gradients.or(other.input_gradients);
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
    /// By state: what comes back through the recurrent products.
    pub(super) backward: Vec<Panels>,
    /// By input: what comes back through the input's products.
    pub(super) input_backward: Vec<Panels>,
}

impl LayerPanels {
    /// Room for a layer's panels.
    pub(in crate::cpu) fn new(
        pool: &Arc<MemoryPool>,
        arch: Arch,
        source: &LayerSource,
    ) -> Result<Self> {
        with_cell!(source.kind, &source.op, 0, cell => Self::of_cell((pool, arch), source, cell))
    }

    fn of_cell<C: PlainCell<V>, const V: usize>(
        (pool, arch): (&Arc<MemoryPool>, Arch),
        source: &LayerSource,
        _: C,
    ) -> Result<Self> {
        let hidden = source.op.hidden;
        let lanes = lanes(arch);
        let units = hidden.div_ceil(lanes);
        let of_directions = |wanted: bool, shape: [usize; 3]| {
            let directions = if wanted { source.op.directions } else { 0 };
            (0..directions)
                .map(|_| Panels::new(pool, arch, shape))
                .collect::<Result<_>>()
        };
        let inputs = source.inputs.unwrap_or(0);
        let back = |columns: usize| {
            let vectors = vectors(columns, lanes);
            let terms = V * hidden.next_multiple_of(lanes);
            [columns.div_ceil(lanes * vectors), terms, vectors]
        };
        let wanted = source.input_gradients;
        Ok(Self {
            forward: of_directions(true, [units, hidden, V])?,
            input: of_directions(source.inputs.is_some(), [units, inputs, V])?,
            bias: of_directions(source.inputs.is_some(), [units, 1, C::UNIT])?,
            backward: of_directions(source.backward, back(hidden))?,
            input_backward: of_directions(wanted.is_some(), back(wanted.unwrap_or(0)))?,
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
        _: C,
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
            let slots = &C::ORDER[C::UNIT - V..];
            fill_backward::<C, V>([op.hidden, op.hidden], slots, weights, panels);
        }
        for (direction, panels) in self.input_backward.iter_mut().enumerate() {
            let inputs = source.input_gradients.unwrap_or(0);
            let weights = weights(direction, layout.input);
            fill_backward::<C, V>([inputs, op.hidden], &C::ORDER, weights, panels);
        }
    }

    /// Elements of a vector of theirs.
    pub(in crate::cpu) fn lanes(&self) -> usize {
        self.forward.first().map_or(1, Panels::lanes)
    }

    /// Elements.
    pub(in crate::cpu) fn len(&self) -> usize {
        let of_directions = [
            &self.forward,
            &self.input,
            &self.bias,
            &self.backward,
            &self.input_backward,
        ];
        of_directions.into_iter().flatten().map(Panels::len).sum()
    }
}

/// Elements of the gradients of a sequence's sums: slot by slot in the cell's order, of each all units in whole vectors.
pub(super) fn product_width<C: PlainCell<V>, const V: usize>(
    _: C,
    hidden: usize,
    lanes: usize,
) -> usize {
    hidden.next_multiple_of(lanes) * C::UNIT
}

/// Of `[terms, hidden, slots]` for each vector of units the slots that are asked for.
fn fill_by_unit<C: PlainCell<V>, const V: usize, const N: usize>(
    hidden: usize,
    slots: [usize; N],
    weights: &[f32],
    panels: &mut Panels,
) {
    let lanes = panels.lanes();
    panels.fill(weights, |panel, term, vector| {
        let unit = panel * lanes;
        LaneRun {
            start: (term * hidden + unit) * C::UNIT + slots[vector],
            stride: C::UNIT,
            len: hidden - unit,
        }
    });
}

/// Of `[columns, hidden, slots]` the weights of `slots`, slot by slot, for the columns of each panel.
fn fill_backward<C: PlainCell<V>, const V: usize>(
    [columns, hidden]: [usize; 2],
    slots: &[usize],
    weights: &[f32],
    panels: &mut Panels,
) {
    let (lanes, vectors) = (panels.lanes(), panels.vectors());
    let whole = hidden.next_multiple_of(lanes);
    panels.fill(weights, |panel, term, vector| {
        let column = (panel * vectors + vector) * lanes;
        let unit = term % whole;
        LaneRun {
            start: (column * hidden + unit) * C::UNIT + slots[term / whole],
            stride: hidden * C::UNIT,
            len: if unit < hidden {
                columns.saturating_sub(column)
            } else {
                0
            },
        }
    });
}
