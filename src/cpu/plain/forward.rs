//! The forward of a tile.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::cells::{PlainCell, State};
use super::{Kind, LayerPanels, single, with_cell};
use crate::cpu::panels::{Ahead, Block, Panels, TERMS, for_row_groups, product, product_of_row};
use crate::cpu::simd::{SLOTS, load, load_slots, store, store_slots};
use crate::cpu::tile::{ForwardRows, ForwardStep, ForwardTile, MOST_ROWS, tile_size};
use crate::ops::Recurrence;

/// The rows that enter one direction of a layer.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Entering<'a> {
    /// From the first row on.
    pub(in crate::cpu) values: &'a [f32],
    pub(in crate::cpu) stride: usize,
    pub(in crate::cpu) inputs: usize,
    /// Numbers of the rows in processing order, if they are gathered.
    pub(in crate::cpu) rows: Option<&'a [u32]>,
    /// The row of the batch that comes first.
    pub(in crate::cpu) first: usize,
}

impl<'a> Entering<'a> {
    /// What enters at a row of the batch.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        let row = row - self.first;
        let row = self.rows.map_or(row, |rows| rows[row] as usize);
        &self.values[row * self.stride..][..self.inputs]
    }
}

/// All steps of one direction. Without `entering`, the gates hold the input's products.
pub(in crate::cpu) fn forward(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    panels: &LayerPanels,
    entering: Option<Entering<'_>>,
    rows: ForwardRows<'_>,
) {
    let recurrent = &panels.forward[direction];
    match entering {
        None => sweep(op, (kind, direction), (Gates, recurrent), rows),
        Some(entering) => {
            let input = Input {
                rows: entering,
                panels: &panels.input[direction],
                bias: &panels.bias[direction],
            };
            if single::suits(op, recurrent.lanes()) {
                return single::forward(op, (kind, direction), (input, recurrent), rows);
            }
            sweep(op, (kind, direction), (input, recurrent), rows);
        }
    }
}

fn sweep<I: Start>(
    op: &Recurrence,
    (kind, direction): (Kind, usize),
    (input, panels): (I, &Panels),
    rows: ForwardRows<'_>,
) {
    rows.for_tiles(op, tile_size(op, input.terms()), &|tile| {
        with_cell!(kind, op, direction, cell => panels.dispatch(Sweep {
            cell,
            tile,
            weights: Weights {
                input,
                recurrent: panels,
                hidden: op.hidden,
            },
            keep: op.keeps_gates,
        }));
    });
}

/// What the sums of a step start from.
pub(super) trait Start: Copy + Send + Sync {
    /// Terms that it adds before those of the states.
    fn terms(self) -> usize;

    /// The weights of its terms.
    fn panels(&self) -> Option<&Panels>;

    /// The sums of a row before any term.
    fn begin<S: Simd, C: PlainCell<V>, const V: usize>(
        self,
        units: &Units<'_, S, C, Self, V>,
        step: &ForwardStep<'_>,
        row: usize,
    ) -> [S::f32s; SLOTS];

    /// Adds some of its terms to the sums of `R` rows from `row` on.
    fn add<S: Simd, C: PlainCell<V>, const R: usize, const V: usize>(
        self,
        units: &Units<'_, S, C, Self, V>,
        row: usize,
        terms: (Range<usize>, Ahead<S::f32s>),
        slots: &mut [[S::f32s; SLOTS]; R],
    );
}

/// The input's products, which lie in the gates.
#[derive(Debug, Clone, Copy)]
struct Gates;

impl Start for Gates {
    #[inline(always)]
    fn terms(self) -> usize {
        0
    }

    #[inline(always)]
    fn panels(&self) -> Option<&Panels> {
        None
    }

    #[inline(always)]
    fn begin<S: Simd, C: PlainCell<V>, const V: usize>(
        self,
        units: &Units<'_, S, C, Self, V>,
        step: &ForwardStep<'_>,
        row: usize,
    ) -> [S::f32s; SLOTS] {
        load_gates::<S, C, V>(units.simd, &step.gates[units.gates(row)])
    }

    #[inline(always)]
    fn add<S: Simd, C: PlainCell<V>, const R: usize, const V: usize>(
        self,
        _: &Units<'_, S, C, Self, V>,
        _: usize,
        _: (Range<usize>, Ahead<S::f32s>),
        _: &mut [[S::f32s; SLOTS]; R],
    ) {
    }
}

/// What enters a layer, and its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    rows: Entering<'a>,
    panels: &'a Panels,
    bias: &'a Panels,
}

impl Start for Input<'_> {
    #[inline(always)]
    fn terms(self) -> usize {
        self.rows.inputs
    }

    #[inline(always)]
    fn panels(&self) -> Option<&Panels> {
        Some(self.panels)
    }

    #[inline(always)]
    fn begin<S: Simd, C: PlainCell<V>, const V: usize>(
        self,
        units: &Units<'_, S, C, Self, V>,
        _: &ForwardStep<'_>,
        _: usize,
    ) -> [S::f32s; SLOTS] {
        let mut slots = [units.simd.splat_f32s(0.0); SLOTS];
        let bias = self.bias.panel::<S>(units.number);
        for (slot, bias) in slots.iter_mut().zip(bias) {
            *slot = *bias;
        }
        slots
    }

    #[inline(always)]
    fn add<S: Simd, C: PlainCell<V>, const R: usize, const V: usize>(
        self,
        units: &Units<'_, S, C, Self, V>,
        row: usize,
        (terms, ahead): (Range<usize>, Ahead<S::f32s>),
        slots: &mut [[S::f32s; SLOTS]; R],
    ) {
        let mut rows: [&[f32]; R] = [&[]; R];
        for (r, inputs) in rows.iter_mut().enumerate() {
            *inputs = &self.rows.row(row + r)[terms.clone()];
        }
        let panel = self.panels.panel::<S>(units.number);
        let panel = &panel[terms.start * V..terms.end * V];
        add_product::<S, R, V>(units.simd, Block { panel, ahead }, rows, slots, C::INPUTS);
    }
}

/// A tile on its way through the steps.
struct Sweep<'a, C, I, const V: usize> {
    cell: C,
    tile: ForwardTile<'a>,
    weights: Weights<'a, I>,
    keep: bool,
}

impl<C: PlainCell<V>, I: Start, const V: usize> WithSimd for Sweep<'_, C, I, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut partial = [[simd.splat_f32s(0.0); SLOTS]; MOST_ROWS];
        let weights = self.weights;
        let Weights { input, hidden, .. } = weights;
        let inputs = input.terms();
        let mut backwards = false;
        for step in self.tile.steps() {
            let Some(mut step) = self.tile.step(step) else {
                // Sequences are sorted: later steps have none of this tile's either.
                break;
            };
            let units = |number: usize| Units {
                simd,
                cell: self.cell,
                input,
                number,
                panel: weights.recurrent.panel::<S>(number),
                hidden,
                first: number * S::F32_LANES,
                keep: self.keep,
            };
            let count = hidden.div_ceil(S::F32_LANES);
            // To and fro: what a step read last is in the nearest cache when the next begins with it.
            backwards = !backwards;
            let place = |index: usize, len: usize| match backwards {
                true => len - 1 - index,
                false => index,
            };
            let mut done = 0;
            if step.count == 1 && inputs == 0 {
                for index in 0..count / 2 {
                    let first = 2 * place(index, count / 2);
                    let pair = [units(first), units(first + 1)];
                    let begun = [pair[0].begin(&step, 0), pair[1].begin(&step, 0)];
                    Units::compute_pair(pair, &mut step, begun);
                }
                done = count / 2 * 2;
            }
            for index in 0..count - done {
                let units = units(done + place(index, count - done));
                let next = done + place((index + 1).min(count - done - 1), count - done);
                // A block of a panel's terms stays in a near cache while all rows pass.
                for block in (0..inputs + hidden).step_by(TERMS) {
                    let terms = block..(inputs + hidden).min(block + TERMS);
                    let ahead = weights.ahead::<S, V>((units.number, next), terms.end);
                    for_row_groups!(S, step.count, row, R => {
                        let terms = (terms.clone(), ahead.skip(row / R));
                        units.compute::<R>(&mut step, row, terms, &mut partial);
                    });
                }
            }
        }
    }
}

/// The weights of both products, in the order in which a step reads them.
#[derive(Clone, Copy)]
struct Weights<'a, I> {
    input: I,
    recurrent: &'a Panels,
    hidden: usize,
}

impl<I: Start> Weights<'_, I> {
    /// What follows term `term` of a vector of units, after its last the `next` vector's.
    #[inline(always)]
    fn ahead<S: Simd, const V: usize>(
        &self,
        (number, next): (usize, usize),
        term: usize,
    ) -> Ahead<S::f32s> {
        let inputs = self.input.terms();
        let (number, term) = match term < inputs + self.hidden {
            true => (number, term),
            false => (next, 0),
        };
        match self.input.panels() {
            Some(panels) if term < inputs => panels.ahead::<S>(number, term * V),
            _ => self.recurrent.ahead::<S>(number, (term - inputs) * V),
        }
    }
}

/// A vector of units.
pub(super) struct Units<'a, S: Simd, C, I, const V: usize> {
    pub(super) simd: S,
    pub(super) cell: C,
    pub(super) input: I,
    /// Number of the vector.
    pub(super) number: usize,
    pub(super) panel: &'a [S::f32s],
    pub(super) hidden: usize,
    pub(super) first: usize,
    pub(super) keep: bool,
}

impl<S: Simd, C: PlainCell<V>, I: Start, const V: usize> Units<'_, S, C, I, V> {
    /// Adds some terms, the input's before the states', to the sums of `R` sequences from `row` on; with the last terms goes on
    /// to the states.
    #[inline(always)]
    fn compute<const R: usize>(
        &self,
        step: &mut ForwardStep<'_>,
        row: usize,
        (terms, ahead): (Range<usize>, Ahead<S::f32s>),
        partial: &mut [[S::f32s; SLOTS]; MOST_ROWS],
    ) {
        let (simd, hidden, inputs) = (self.simd, self.hidden, self.input.terms());
        let mut slots = [[simd.splat_f32s(0.0); SLOTS]; R];
        for r in 0..R {
            slots[r] = match terms.start {
                0 => self.begin(step, row + r),
                _ => partial[row + r],
            };
        }
        let entering = terms.start.min(inputs)..terms.end.min(inputs);
        let then = ahead.skip(entering.len() * V);
        (self.input).add::<S, C, R, V>(self, step.row + row, (entering, ahead), &mut slots);
        let terms = terms.start.saturating_sub(inputs)..terms.end.saturating_sub(inputs);
        let mut rows: [&[f32]; R] = [&[]; R];
        for (r, states) in rows.iter_mut().enumerate() {
            *states = &step.h_previous[(row + r) * hidden..][terms.clone()];
        }
        let block = Block {
            panel: &self.panel[terms.start * V..terms.end * V],
            ahead: then,
        };
        add_product::<S, R, V>(simd, block, rows, &mut slots, C::PRODUCTS);
        if terms.end < hidden {
            partial[row..row + R].copy_from_slice(&slots);
            return;
        }
        for (r, slots) in slots.into_iter().enumerate() {
            self.finish(step, row + r, slots);
        }
    }

    /// The sums of a row before any term.
    #[inline(always)]
    pub(super) fn begin(&self, step: &ForwardStep<'_>, row: usize) -> [S::f32s; SLOTS] {
        self.input.begin(self, step, row)
    }

    /// Adds the input's terms of `R` rows from row `row` of the batch on.
    #[inline(always)]
    pub(super) fn enter<const R: usize>(&self, row: usize, slots: &mut [[S::f32s; SLOTS]; R]) {
        let terms = (0..self.input.terms(), Block::alone(self.panel).ahead);
        self.input.add::<S, C, R, V>(self, row, terms, slots);
    }

    /// Computes the only sequence's units from what the input gives.
    #[inline(always)]
    pub(super) fn compute_one(&self, step: &mut ForwardStep<'_>, begun: [S::f32s; SLOTS]) {
        let mut slots = [begun];
        let row = &step.h_previous[..self.hidden];
        let block = Block::alone(self.panel);
        add_product::<S, 1, V>(self.simd, block, [row], &mut slots, C::PRODUCTS);
        self.finish(step, 0, slots[0]);
    }

    /// Likewise of two vectors.
    #[inline(always)]
    pub(super) fn compute_pair(
        [first, second]: [Self; 2],
        step: &mut ForwardStep<'_>,
        mut slots: [[S::f32s; SLOTS]; 2],
    ) {
        let simd = first.simd;
        let mut sums = [[simd.splat_f32s(0.0); V]; 2];
        for (sums, slots) in sums.iter_mut().zip(&slots) {
            for v in 0..V {
                sums[v] = slots[C::PRODUCTS[v]];
            }
        }
        let row = &step.h_previous[..first.hidden];
        let sums = product_of_row(simd, [first.panel, second.panel], row, sums);
        for (slots, sums) in slots.iter_mut().zip(sums) {
            for v in 0..V {
                slots[C::PRODUCTS[v]] = sums[v];
            }
        }
        first.finish(step, 0, slots[0]);
        second.finish(step, 0, slots[1]);
    }

    /// From the complete sums of a row to its states, and to what the backward wants to know.
    #[inline(always)]
    fn finish(&self, step: &mut ForwardStep<'_>, row: usize, slots: [S::f32s; SLOTS]) {
        let (simd, units) = (self.simd, self.units(row));
        let old = State {
            h: load(simd, &step.h_previous[units.clone()]),
            c: match step.c_previous.get(units.clone()) {
                Some(c) => load(simd, c),
                None => simd.splat_f32s(0.0),
            },
        };
        let result = self.cell.forward(simd, slots, old);
        store(simd, &mut step.h[units.clone()], result.new.h);
        if let Some(c) = step.c.get_mut(units) {
            store(simd, c, result.new.c);
        }
        if self.keep {
            store_gates::<S, C, V>(simd, &mut step.gates[self.gates(row)], result.kept);
        }
    }

    /// These units of a row of states.
    #[inline(always)]
    fn units(&self, row: usize) -> Range<usize> {
        let start = row * self.hidden;
        start + self.first..start + self.hidden.min(self.first + S::F32_LANES)
    }

    /// Their slots in a row of gates.
    #[inline(always)]
    fn gates(&self, row: usize) -> Range<usize> {
        let units = self.units(row);
        units.start * C::UNIT..units.end * C::UNIT
    }
}

/// Adds a product to some of the slots of each row.
#[inline(always)]
fn add_product<S: Simd, const R: usize, const V: usize>(
    simd: S,
    block: Block<'_, S::f32s>,
    rows: [&[f32]; R],
    slots: &mut [[S::f32s; SLOTS]; R],
    places: [usize; V],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for r in 0..R {
        for v in 0..V {
            sums[r][v] = slots[r][places[v]];
        }
    }
    let sums = product(simd, block, rows, sums);
    for r in 0..R {
        for v in 0..V {
            slots[r][places[v]] = sums[r][v];
        }
    }
}

/// The slots of a vector of units.
#[inline(always)]
pub(super) fn load_gates<S: Simd, C: PlainCell<V>, const V: usize>(
    simd: S,
    gates: &[f32],
) -> [S::f32s; SLOTS] {
    if C::UNIT == SLOTS {
        return load_slots(simd, gates);
    }
    let zero = simd.splat_f32s(0.0);
    [load(simd, gates), zero, zero, zero]
}

/// The reverse of [`load_gates`].
#[inline(always)]
pub(super) fn store_gates<S: Simd, C: PlainCell<V>, const V: usize>(
    simd: S,
    gates: &mut [f32],
    slots: [S::f32s; SLOTS],
) {
    if C::UNIT == SLOTS {
        store_slots(simd, gates, slots);
    } else {
        store(simd, gates, slots[0]);
    }
}
