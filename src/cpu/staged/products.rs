//! The weights of a layer in panels, and the products with them.

use std::ops::Range;
use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use crate::config::{Cell, GruReset};
use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::panels::{LaneRun, Panels, TERMS, for_row_groups, product, product_of_row};
use crate::cpu::row_product::vectors;
use crate::cpu::simd::{SLOTS, lanes, load, load_slots, store, store_slots};
use crate::error::Result;
use crate::ops::{BufferId, Recurrence};

/// Where a layer's panels come from.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct StagedSource {
    op: Recurrence,
    backward: bool,
}

/// The slots of a cell's recurrent product.
pub(super) fn recurrent_slots(op: &Recurrence) -> &'static [usize] {
    match (op.spec.cell, op.spec.reset) {
        (Cell::Elman, _) => &[0],
        (Cell::Lstm, _) => &[0, 1, 2, 3],
        (Cell::Gru, GruReset::After) => &[0, 1, 3],
        (Cell::Gru, GruReset::Before) => &[0, 1],
    }
}

impl StagedSource {
    pub(in crate::cpu) fn new(op: &Recurrence) -> Self {
        Self {
            op: op.clone(),
            backward: false,
        }
    }

    /// What the backward needs, too.
    pub(in crate::cpu) fn with_backward(self) -> Self {
        Self {
            backward: true,
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
            let sizes = [op.hidden, op.state, op.directions];
            (op.weights, recurrent_slots(op), sizes, op.layout)
        };
        let same = key(self) == key(other);
        self.backward |= same && other.backward;
        same
    }
}

/// A layer's panels.
#[derive(Debug)]
pub(in crate::cpu) struct StagedPanels {
    pub(super) directions: Vec<DirectionPanels>,
}

/// Those of a direction.
#[derive(Debug)]
pub(super) struct DirectionPanels {
    /// Of the recurrent product: by unit.
    pub(super) recurrent: Panels,
    /// Of the second one, if there is one: by result.
    pub(super) second: Option<Panels>,
    /// Of the two products back, if wanted: by state, and by what entered the second product.
    pub(super) recurrent_back: Option<Panels>,
    pub(super) second_back: Option<Panels>,
}

impl StagedPanels {
    /// Room for a layer's panels.
    pub(in crate::cpu) fn new(
        pool: &Arc<MemoryPool>,
        arch: Arch,
        source: &StagedSource,
    ) -> Result<Self> {
        let (op, lanes) = (&source.op, lanes(arch));
        let (layout, slots) = (&op.layout, recurrent_slots(op).len());
        let by_column = |wanted: bool, columns: usize, terms: usize| {
            let vectors = vectors(columns, lanes);
            let shape = [columns.div_ceil(lanes * vectors), terms, vectors];
            wanted.then(|| Panels::new(pool, arch, shape)).transpose()
        };
        let direction = |_| {
            let second = op.spec.has_second_product();
            let by_unit = [op.hidden.div_ceil(lanes), op.state, slots];
            let [inputs, outputs] = [layout.second_inputs, layout.second_outputs];
            let back = slots * op.hidden.next_multiple_of(lanes);
            Ok(DirectionPanels {
                recurrent: Panels::new(pool, arch, by_unit)?,
                second: by_column(second, outputs, inputs)?,
                recurrent_back: by_column(source.backward, op.state, back)?,
                second_back: by_column(source.backward && second, inputs, outputs)?,
            })
        };
        Ok(Self {
            directions: (0..op.directions).map(direction).collect::<Result<_>>()?,
        })
    }

    /// Fills them from the buffer of the packed weights.
    pub(in crate::cpu) fn fill(&mut self, source: &StagedSource, packed: &[f32]) {
        let (op, layout) = (&source.op, &source.op.layout);
        let (slots, hidden) = (recurrent_slots(op), op.hidden);
        for (direction, panels) in self.directions.iter_mut().enumerate() {
            let packed = &packed[op.weights.offset + direction * layout.len()..];
            let lanes = panels.recurrent.lanes();
            let recurrent = &packed[layout.recurrent..];
            (panels.recurrent).fill(recurrent, |panel, term, vector| LaneRun {
                start: (term * hidden + panel * lanes) * layout.slots + slots[vector],
                stride: layout.slots,
                len: hidden - panel * lanes,
            });
            let by_column = |panels: &mut Option<Panels>, part: usize, columns: usize| {
                let Some(panels) = panels else { return };
                let vectors = panels.vectors();
                panels.fill(&packed[part..], |panel, term, vector| {
                    let column = (panel * vectors + vector) * lanes;
                    LaneRun {
                        start: term * columns + column,
                        stride: 1,
                        len: columns.saturating_sub(column),
                    }
                });
            };
            by_column(&mut panels.second, layout.second, layout.second_outputs);
            let back = &mut panels.second_back;
            by_column(back, layout.second_transposed, layout.second_inputs);
            let Some(panels) = &mut panels.recurrent_back else {
                continue;
            };
            let (vectors, whole) = (panels.vectors(), hidden.next_multiple_of(lanes));
            panels.fill(recurrent, |panel, term, vector| {
                let column = (panel * vectors + vector) * lanes;
                let (slot, unit) = (slots[term / whole], term % whole);
                LaneRun {
                    start: (column * hidden + unit) * layout.slots + slot,
                    stride: hidden * layout.slots,
                    len: if unit < hidden {
                        op.state.saturating_sub(column)
                    } else {
                        0
                    },
                }
            });
        }
    }

    /// Elements of a vector of theirs.
    pub(in crate::cpu) fn lanes(&self) -> usize {
        (self.directions.first()).map_or(1, |panels| panels.recurrent.lanes())
    }

    /// Elements.
    pub(in crate::cpu) fn len(&self) -> usize {
        let of = |panels: &DirectionPanels| {
            let others = [&panels.second, &panels.recurrent_back, &panels.second_back];
            let others = others.into_iter().flatten().map(Panels::len);
            panels.recurrent.len() + others.sum::<usize>()
        };
        self.directions.iter().map(of).sum()
    }
}

/// The recurrent product of a timestep's rows, for the slots of each unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitProduct<'a> {
    pub(super) slots: &'static [usize],
    /// What is multiplied, `[count, terms]`.
    pub(super) rows: &'a [f32],
    pub(super) terms: usize,
    pub(super) count: usize,
    /// Units of a row of the result.
    pub(super) hidden: usize,
    /// Whether the result replaces what is there; slots without a product become 0 then.
    pub(super) replace: bool,
}

impl UnitProduct<'_> {
    /// Adds it to `[count, hidden, slots]`.
    pub(super) fn compute(self, panels: &Panels, target: &mut [f32]) {
        panels.dispatch(Work {
            product: self,
            panels,
            target,
        });
    }
}

struct Work<'a> {
    product: UnitProduct<'a>,
    panels: &'a Panels,
    target: &'a mut [f32],
}

impl WithSimd for Work<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let product = UnitSums {
            simd,
            panels: self.panels,
            of: self.product,
        };
        // Constants, so that no vector is looked for by its number.
        match self.product.slots {
            [0] => product.sweep::<1, 1>([0], self.target),
            [0, 1] => product.sweep::<2, SLOTS>([0, 1], self.target),
            [0, 1, 3] => product.sweep::<3, SLOTS>([0, 1, 3], self.target),
            _ => product.sweep::<4, SLOTS>([0, 1, 2, 3], self.target),
        }
    }
}

/// A [`UnitProduct`] on vectors.
struct UnitSums<'a, S> {
    simd: S,
    panels: &'a Panels,
    of: UnitProduct<'a>,
}

impl<S: Simd> UnitSums<'_, S> {
    #[inline(always)]
    fn sweep<const V: usize, const UNIT: usize>(&self, slots: [usize; V], target: &mut [f32]) {
        let count = self.of.hidden.div_ceil(S::F32_LANES);
        // A block of a panel's terms stays in a near cache while all rows pass.
        for block in (0..self.of.terms).step_by(TERMS) {
            let terms = block..self.of.terms.min(block + TERMS);
            let mut done = 0;
            if self.of.count == 1 {
                while done + 2 <= count {
                    self.pair::<V, UNIT>(slots, terms.clone(), done, target);
                    done += 2;
                }
            }
            for number in done..count {
                for_row_groups!(S, self.of.count, row, R => {
                    self.rows::<R, V, UNIT>(slots, terms.clone(), (number, row), target);
                });
            }
        }
    }

    /// Adds some terms for `R` rows from `row` on.
    #[inline(always)]
    fn rows<const R: usize, const V: usize, const UNIT: usize>(
        &self,
        slots: [usize; V],
        terms: Range<usize>,
        (number, row): (usize, usize),
        target: &mut [f32],
    ) {
        let simd = self.simd;
        let mut inputs: [&[f32]; R] = [&[]; R];
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for r in 0..R {
            inputs[r] = &self.of.rows[(row + r) * self.of.terms..][terms.clone()];
            sums[r] = self.start::<V, UNIT>(slots, terms.start, (number, row + r), target);
        }
        let block = self.panels.block::<S>(number, terms).of_group(row / R);
        let sums = product(simd, block, inputs, sums);
        for (r, sums) in sums.into_iter().enumerate() {
            self.end::<V, UNIT>(slots, sums, (number, row + r), target);
        }
    }

    /// Adds some terms for two vectors of units of the only row.
    #[inline(always)]
    fn pair<const V: usize, const UNIT: usize>(
        &self,
        slots: [usize; V],
        terms: Range<usize>,
        number: usize,
        target: &mut [f32],
    ) {
        let sums = [
            self.start::<V, UNIT>(slots, terms.start, (number, 0), target),
            self.start::<V, UNIT>(slots, terms.start, (number + 1, 0), target),
        ];
        let panel = |number: usize| self.panels.block::<S>(number, terms.clone()).panel;
        let panels = [panel(number), panel(number + 1)];
        let [first, second] = product_of_row(self.simd, panels, &self.of.rows[terms], sums);
        self.end::<V, UNIT>(slots, first, (number, 0), target);
        self.end::<V, UNIT>(slots, second, (number + 1, 0), target);
    }

    /// The elements of a vector of units of a row of the result.
    #[inline(always)]
    fn place<const UNIT: usize>(&self, number: usize, row: usize) -> Range<usize> {
        let (row, first) = (row * self.of.hidden, number * S::F32_LANES);
        let end = self.of.hidden.min(first + S::F32_LANES);
        (row + first) * UNIT..(row + end) * UNIT
    }

    /// What the sums of some terms start from.
    #[inline(always)]
    fn start<const V: usize, const UNIT: usize>(
        &self,
        slots: [usize; V],
        first_term: usize,
        (number, row): (usize, usize),
        target: &[f32],
    ) -> [S::f32s; V] {
        let simd = self.simd;
        let mut sums = [simd.splat_f32s(0.0); V];
        if self.of.replace && first_term == 0 {
            return sums;
        }
        let target = &target[self.place::<UNIT>(number, row)];
        if UNIT == 1 {
            sums[0] = load(simd, target);
            return sums;
        }
        let vectors = load_slots(simd, target);
        for v in 0..V {
            sums[v] = vectors[slots[v]];
        }
        sums
    }

    /// Puts the sums back.
    #[inline(always)]
    fn end<const V: usize, const UNIT: usize>(
        &self,
        slots: [usize; V],
        sums: [S::f32s; V],
        (number, row): (usize, usize),
        target: &mut [f32],
    ) {
        let simd = self.simd;
        let target = &mut target[self.place::<UNIT>(number, row)];
        if UNIT == 1 {
            return store(simd, target, sums[0]);
        }
        let mut vectors = match V == SLOTS || self.of.replace {
            true => [simd.splat_f32s(0.0); SLOTS],
            false => load_slots(simd, target),
        };
        for v in 0..V {
            vectors[slots[v]] = sums[v];
        }
        store_slots(simd, target, vectors);
    }
}
