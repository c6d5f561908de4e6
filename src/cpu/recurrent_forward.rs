//! [`Recurrence`] forward on the CPU: for each step one matrix product over the running sequences, then the cell.

use crate::cell::{clip, elman_unit, gru_after, gru_before, gru_reset, lstm_output, lstm_unit};
use crate::config::{Cell, GruReset};
use crate::cpu::access::{Accesses, elements};
use crate::cpu::lstm_gates::{LstmRow, OUTPUT, PLAIN_ROW};
use crate::cpu::matrix_product::{View, matrix_product};
use crate::cpu::memory::{Extent, Memory};
use crate::cpu::panel_cache::PanelSource;
use crate::cpu::parallel::{Lane, for_lanes, join};
use crate::cpu::plain::{self, Entering, Kind, LayerPanels, LayerSource};
use crate::cpu::plan::{Context, Run};
use crate::cpu::recurrence::{
    self, Extents, Layer, StepRows, check, most_rows, of_directions, recurrent_slots, state_extents,
};
use crate::cpu::tile::{ForwardRows, Rows};
use crate::error::Result;
use crate::ops::{RandomPurpose, Recurrence};

/// Simple operations that a unit of a step costs.
const UNIT_COST: usize = 96;
const SLOTS: usize = 4;

impl Run for Recurrence {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        check(self, accesses)?;
        let gates = Extents::new(self).gates;
        accesses.write(self.gates, gates)?;
        accesses.write_optional(self.recurrent_sums, gates)?;
        for extent in state_extents(self) {
            accesses.write(extent.region, extent.len)?;
        }
        let gates = [(Some(self.gates), false), (self.recurrent_sums, true)];
        recurrence::declare_rows(self, gates, accesses);
        Ok(())
    }

    fn scratch(&self) -> usize {
        elements(&[self.directions, most_rows(self), scratch_width(self)])
    }

    fn multiplications(&self) -> usize {
        recurrence::multiplications(self)
    }

    fn panels(&self) -> Option<PanelSource> {
        LayerSource::new(self).map(|source| PanelSource::Layer(Box::new(source)))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        if let (Some(kind), Some(panels)) = (plain::kind(self), context.layer_panels()) {
            return run_plain(self, kind, panels, [None; 2], context.memory);
        }
        let packed = context.memory.part(self.weights)?;
        let gates = Extents::new(self).gates;
        let [h, input, mask, c, second] = state_extents(self);
        let sums = Extent::optional(self.recurrent_sums, gates, self.gates);
        let parts = [
            Extent::new(self.gates, gates),
            sums,
            h,
            input,
            mask,
            c,
            second,
        ];
        let scratch = &mut context.scratch[..self.scratch()];
        context.memory.write_parts(parts, |parts| {
            let [gates, sums, h, input, mask, c, second] = parts;
            let mask = &*mask;
            let split = |values| of_directions(values, self.directions);
            let [gates, sums, h, input] = [gates, sums, h, input].map(split);
            let [c, second, scratch] = [c, second, scratch].map(split);
            let run = |direction, tensors: Tensors<'_>| {
                Layer::new(self, direction, &packed, mask, context.seed).forward(tensors);
            };
            let [first, other] = Tensors::zip([gates, sums, h, input, c, second, scratch]);
            match self.directions {
                1 => run(0, first),
                _ => {
                    join(|| run(0, first), || run(1, other));
                }
            }
        })
    }
}

/// A cell that is served the fast way; of `entering` directions the gates do not hold the input's products yet.
pub(super) fn run_plain(
    op: &Recurrence,
    kind: Kind,
    panels: &LayerPanels,
    entering: [Option<Entering<'_>>; 2],
    memory: &Memory,
) -> Result<()> {
    let units = op.hidden * op.layout.slots;
    let [h, _, _, c, _] = state_extents(op);
    let fused = entering[0].is_some();
    let gates = (!fused || op.keeps_gates).then_some(op.gates);
    let gates = Extent::optional(gates, Extents::new(op).gates, op.gates);
    memory.write_parts([gates, h, c], |parts| {
        let [gates, h, c] = parts.map(|values| of_directions(values, op.directions));
        let run = |direction: usize, gates, h, c| {
            let rows = ForwardRows {
                gates: Rows::new(gates, units),
                h: Rows::new(h, op.hidden),
                c: Rows::new(c, op.hidden),
            };
            let entering = entering[direction];
            plain::forward(op, (kind, direction), panels, entering, rows);
        };
        let ([g0, g1], [h0, h1], [c0, c1]) = (gates, h, c);
        match op.directions {
            1 => run(0, g0, h0, c0),
            _ => {
                join(|| run(0, g0, h0, c0), || run(1, g1, h1, c1));
            }
        }
    })
}

/// Scratch elements of a running sequence: with a normalisation two rows of gates and one of the cell.
fn scratch_width(op: &Recurrence) -> usize {
    match op.spec.layer_norm {
        Some(_) => elements(&[op.hidden, 2 * op.layout.slots + 1]),
        None => 0,
    }
}

/// What one direction reads and writes; absent tensors are empty.
struct Tensors<'a> {
    gates: &'a mut [f32],
    sums: &'a mut [f32],
    h: &'a mut [f32],
    /// What enters the recurrent product, if it is not `h`.
    input: &'a mut [f32],
    c: &'a mut [f32],
    second: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl<'a> Tensors<'a> {
    fn zip(of_directions: [[&'a mut [f32]; 2]; 7]) -> [Self; 2] {
        let [
            [g0, g1],
            [s0, s1],
            [h0, h1],
            [i0, i1],
            [c0, c1],
            [n0, n1],
            [w0, w1],
        ] = of_directions;
        let tensors = |[gates, sums, h, input, c, second, scratch]: [&'a mut [f32]; 7]| Self {
            gates,
            sums,
            h,
            input,
            c,
            second,
            scratch,
        };
        [
            tensors([g0, s0, h0, i0, c0, n0, w0]),
            tensors([g1, s1, h1, i1, c1, n1, w1]),
        ]
    }

    /// The rows of one step.
    fn step(&mut self, op: &Recurrence, rows: StepRows) -> Step<'_> {
        let units = op.hidden * op.layout.slots;
        let (h_previous, h) = before_and_after(self.h, rows, op.state);
        let (masked, input) = before_and_after(self.input, rows, op.state);
        let (c_previous, c) = before_and_after(self.c, rows, op.hidden);
        Step {
            rows,
            gates: &mut self.gates[rows.range(rows.gates, units)],
            sums: part(self.sums, rows.range(rows.gates, units)),
            h_previous,
            u: if masked.is_empty() {
                h_previous
            } else {
                masked
            },
            c_previous,
            h,
            input,
            c,
            second: part(self.second, rows.range(rows.first, op.hidden)),
            scratch: &mut *self.scratch,
        }
    }
}

/// A range of a tensor, or nothing of an absent one.
pub(super) fn part(values: &mut [f32], range: std::ops::Range<usize>) -> &mut [f32] {
    match values.is_empty() {
        true => values,
        false => &mut values[range],
    }
}

/// The rows of the states before and after a step.
fn before_and_after(values: &mut [f32], rows: StepRows, width: usize) -> (&[f32], &mut [f32]) {
    if values.is_empty() {
        return (&[], values);
    }
    let (before, after) = values.split_at_mut(rows.next * width);
    let previous = &before[rows.range(rows.previous, width)];
    (previous, &mut after[..rows.count * width])
}

/// What a step reads and writes, one row for each running sequence.
struct Step<'a> {
    rows: StepRows,
    gates: &'a mut [f32],
    sums: &'a mut [f32],
    h_previous: &'a [f32],
    /// The state that enters the recurrent products.
    u: &'a [f32],
    c_previous: &'a [f32],
    h: &'a mut [f32],
    input: &'a mut [f32],
    c: &'a mut [f32],
    second: &'a mut [f32],
    scratch: &'a mut [f32],
}

/// Row `index` of a tensor of rows.
pub(super) fn row(values: &[f32], index: usize, width: usize) -> &[f32] {
    &values[index * width..(index + 1) * width]
}

/// The slots of a unit.
pub(super) fn unit_slots(row: &[f32], unit: usize) -> [f32; SLOTS] {
    std::array::from_fn(|slot| row[unit * SLOTS + slot])
}

impl Layer<'_> {
    fn forward(&self, mut tensors: Tensors<'_>) {
        for step in self.op.steps.clone() {
            let mut step = tensors.step(self.op, StepRows::new(self.op, step));
            self.recurrent_product(&mut step);
            match self.spec().cell {
                Cell::Elman => self.elman_forward(&mut step),
                Cell::Lstm => self.lstm_forward(&mut step),
                Cell::Gru => self.gru_forward(&mut step),
            }
            if self.spec().projection.is_some() {
                self.project(step.second, step.h);
            }
            self.finish(&mut step);
        }
    }

    /// Adds the recurrent products to the gates, or leaves them apart to be normalised.
    fn recurrent_product(&self, step: &mut Step<'_>) {
        let (units, state) = (self.units(), self.op.state);
        let apart = self.spec().is_whole_norm();
        let target = if apart {
            &mut *step.sums
        } else {
            &mut *step.gates
        };
        let sizes = [step.rows.count, units, state];
        let weights = View::rows(self.weights.recurrent, units);
        let u = View::rows(step.u, state);
        matrix_product(sizes, u, weights, target, [units, 1], !apart);
    }

    fn elman_forward(&self, step: &mut Step<'_>) {
        let (spec, activations, hidden) = (self.spec(), self.activations(), self.op.hidden);
        let gates = &*step.gates;
        let lanes = [Lane::new(step.h, hidden)];
        for_lanes(lanes, step.rows.count, hidden * UNIT_COST / 4, &|b, [h]| {
            for (h, &pre) in h.iter_mut().zip(row(gates, b, hidden)) {
                *h = elman_unit(spec, activations, pre);
            }
        });
    }

    fn lstm_forward(&self, step: &mut Step<'_>) {
        let (spec, hidden, units) = (self.spec(), self.op.hidden, self.units());
        let (gates, sums, c_previous) = (&*step.gates, &*step.sums, step.c_previous);
        let output = match spec.projection {
            Some(_) => &mut *step.second,
            None => &mut *step.h,
        };
        let lanes = [
            Lane::new(step.scratch, scratch_width(self.op)),
            Lane::new(step.c, hidden),
            Lane::new(output, hidden),
        ];
        for_lanes(lanes, step.rows.count, hidden * UNIT_COST, &|b,
                                                                [
            scratch,
            c,
            m,
        ]| {
            let (gates, c_previous) = (row(gates, b, units), row(c_previous, b, hidden));
            if spec.layer_norm.is_none() {
                return self.lstm_plain_row(gates, c_previous, c, m);
            }
            let (normalised, rest) = scratch.split_at_mut(units);
            let (pre, hidden_input) = rest.split_at_mut(units);
            normalised.copy_from_slice(match spec.is_whole_norm() {
                true => row(sums, b, units),
                false => gates,
            });
            let mut lstm = LstmRow {
                sums: normalised,
                input: gates,
                c_previous,
                pre,
                c_new: c,
            };
            lstm.compute(self);
            hidden_input.copy_from_slice(c);
            if spec.is_whole_norm() {
                self.normalise_cell(hidden_input);
            }
            for (unit, m) in m.iter_mut().enumerate() {
                let o = pre[unit * SLOTS + OUTPUT];
                *m = lstm_output(spec, self.activations(), o, hidden_input[unit]);
            }
        });
    }

    /// A row without normalisation, in one go.
    fn lstm_plain_row(&self, gates: &[f32], c_previous: &[f32], c: &mut [f32], m: &mut [f32]) {
        let (spec, activations) = (self.spec(), self.activations());
        let peepholes = [0, 1, OUTPUT].map(|slot| self.weights.peephole(slot).unwrap_or(&[]));
        for (unit, (c, m)) in c.iter_mut().zip(m).enumerate() {
            let peephole = peepholes.map(|weights| weights.get(unit).copied().unwrap_or(0.0));
            let pre = unit_slots(gates, unit);
            [*c, *m] = lstm_unit(spec, activations, pre, c_previous[unit], peephole);
        }
    }

    /// The cell state on its way to the output activation.
    fn normalise_cell(&self, c: &mut [f32]) {
        PLAIN_ROW.normalise(c, self.epsilon());
        let vectors = self
            .weights
            .norm_cell_weight
            .iter()
            .zip(self.weights.norm_cell_bias);
        for (c, (weight, bias)) in c.iter_mut().zip(vectors) {
            *c = *c * weight + bias;
        }
    }

    fn gru_forward(&self, step: &mut Step<'_>) {
        let (spec, activations) = (self.spec(), self.activations());
        let (hidden, units, count) = (self.op.hidden, self.units(), step.rows.count);
        if spec.reset == GruReset::Before {
            self.reset_product(step);
        }
        let (gates, sums, h_previous) = (&*step.gates, &*step.sums, step.h_previous);
        let lanes = [
            Lane::new(step.scratch, scratch_width(self.op)),
            Lane::new(step.h, hidden),
        ];
        for_lanes(lanes, count, hidden * UNIT_COST, &|b, [scratch, h]| {
            let mut pre = row(gates, b, units);
            if spec.is_whole_norm() {
                let (normalised, rest) = scratch.split_at_mut(units);
                normalised.copy_from_slice(row(sums, b, units));
                let normed = &mut rest[..units];
                self.gru_gates(normalised, pre, normed);
                pre = normed;
            }
            for (unit, (h, &old)) in h.iter_mut().zip(row(h_previous, b, hidden)).enumerate() {
                let pre = unit_slots(pre, unit);
                *h = match spec.reset {
                    GruReset::After => gru_after(spec, activations, pre, old),
                    GruReset::Before => gru_before(spec, activations, [pre[1], pre[2]], old),
                };
            }
        });
    }

    /// With whole-row normalisation: what enters a GRU's activations. `sums` goes from the raw recurrent products to the
    /// normalised ones; returns their deviation.
    pub(super) fn gru_gates(&self, sums: &mut [f32], input: &[f32], pre: &mut [f32]) -> f32 {
        let slots = recurrent_slots(Cell::Gru, SLOTS);
        let deviation = slots.normalise(sums, self.epsilon());
        for (index, pre) in pre.iter_mut().enumerate() {
            *pre = match slots.has(index) {
                true => input[index] + self.weights.norm_recurrent[index] * sums[index],
                false => input[index],
            };
        }
        deviation
    }

    /// Reset before the product: `r * u` and the candidate's recurrent product over it.
    fn reset_product(&self, step: &mut Step<'_>) {
        let (spec, activations) = (self.spec(), self.activations());
        let (hidden, units, count) = (self.op.hidden, self.units(), step.rows.count);
        let (gates, u) = (&*step.gates, step.u);
        let lanes = [Lane::new(step.second, hidden)];
        for_lanes(lanes, count, hidden * UNIT_COST / 4, &|b, [v]| {
            let (gates, u) = (row(gates, b, units), row(u, b, hidden));
            for (unit, (v, &u)) in v.iter_mut().zip(u).enumerate() {
                *v = gru_reset(spec, activations, gates[unit * SLOTS], u);
            }
        });
        matrix_product(
            [count, hidden, hidden],
            View::rows(step.second, hidden),
            View::rows(self.weights.second, hidden),
            &mut step.gates[CANDIDATE_SLOT..],
            [units, SLOTS],
            true,
        );
    }

    /// The projection's product, without its bias, over whole rows of `[hidden]`.
    pub(super) fn project(&self, second: &[f32], target: &mut [f32]) {
        let (hidden, state) = (self.op.hidden, self.op.state);
        matrix_product(
            [second.len() / hidden, state, hidden],
            View::rows(second, hidden),
            View::rows(self.weights.second, state),
            target,
            [state, 1],
            false,
        );
    }

    /// The projection's bias and clip, zoneout, and recurrent dropout's mask.
    fn finish(&self, step: &mut Step<'_>) {
        let (spec, op, at) = (self.spec(), self.op, step.rows.step);
        let (zoneout_h, zoneout_c) = (spec.zoneout.hidden > 0.0, spec.zoneout.cell > 0.0);
        let (h_previous, c_previous) = (step.h_previous, step.c_previous);
        if spec.projection.is_none() && !zoneout_h && !zoneout_c && self.mask.is_empty() {
            return;
        }
        let lanes = [
            Lane::new(step.h, op.state),
            Lane::new(step.input, op.state),
            Lane::new(step.c, op.hidden),
        ];
        for_lanes(
            lanes,
            step.rows.count,
            op.state * 16,
            &|b, [h, input, c]| {
                if spec.projection.is_some() {
                    for (h, bias) in h.iter_mut().zip(self.weights.projection_bias) {
                        *h += bias;
                    }
                    h.iter_mut()
                        .for_each(|h| *h = clip(*h, spec.clip.projection));
                }
                if zoneout_h {
                    let old = row(h_previous, b, op.state);
                    self.zoneout(RandomPurpose::ZoneoutHidden, (b, at), old, h);
                }
                if zoneout_c {
                    let old = row(c_previous, b, op.hidden);
                    self.zoneout(RandomPurpose::ZoneoutCell, (b, at), old, c);
                }
                if let Some(mask) = self.mask_row(b) {
                    for (input, (h, mask)) in input.iter_mut().zip(h.iter().zip(mask)) {
                        *input = h * mask;
                    }
                }
            },
        );
    }
}

/// The slot of the GRU's candidate.
pub(super) const CANDIDATE_SLOT: usize = 2;
