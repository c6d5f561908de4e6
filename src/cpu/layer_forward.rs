//! The input's products and the [`Recurrence`] of a layer as one: a thread takes its sequences through both, step by step, and
//! through all chunks of time. The gates' sums stay in registers, no thread waits for another, and the order of every sum is
//! that of the two operations apart, so that the results are the same. (But for infinite input of a reset-after GRU: apart, it
//! is multiplied by the zeros that stand for the recurrent candidate's missing input weights, which gives NaN.)

use std::sync::Arc;

use crate::cpu::access::{Accesses, matrix};
use crate::cpu::memory::Extent;
use crate::cpu::panel_cache::PanelSource;
use crate::cpu::plain::{self, Entering, Kind, LayerSource};
use crate::cpu::recurrence::{Extents, check, declare_rows, multiplications, state_extents};
use crate::cpu::recurrent_forward::run_plain;
use crate::cpu::run::{Context, Run};
use crate::error::{Error, Result};
use crate::ops::{Gemm, Operation, Program, Recurrence, Role, RowMap};

/// Sequences that a thread should have at a step: with fewer, a product over all steps at once makes better use of its weights
/// and of the threads.
const LEAST_SEQUENCES: usize = 6;

/// Where a layer is to run: threads, and elements of a vector of theirs.
#[derive(Debug, Clone, Copy)]
pub(super) struct On {
    pub(super) threads: usize,
    pub(super) lanes: usize,
}

/// Consecutive steps of a layer.
#[derive(Debug)]
pub(super) struct LayerForward {
    kind: Kind,
    /// The product of each direction's input.
    projections: Vec<Gemm>,
    recurrence: Recurrence,
}

impl LayerForward {
    /// The chunks of a layer that `operations` begin with, and how many operations they are, if doing them as one is possible
    /// and worth it there.
    pub(super) fn take(
        program: &Program,
        operations: &[Operation],
        on: On,
    ) -> Option<(Self, usize)> {
        let first = |from: usize| Self::chunk(program, operations.get(from..)?, on);
        let mut layer = first(0)?;
        let of_chunk = layer.projections.len() + 1;
        let mut taken = of_chunk;
        while let Some(next) = first(taken) {
            if !layer.extend(&next) {
                break;
            }
            taken += of_chunk;
        }
        Some((layer, taken))
    }

    /// The chunk that `operations` begin with.
    fn chunk(program: &Program, operations: &[Operation], on: On) -> Option<Self> {
        let is_gemm = |operation: &&Operation| matches!(operation, Operation::Gemm(_));
        let count = operations.iter().take_while(is_gemm).count();
        let Operation::RecurrentForward(recurrence) = operations.get(count)? else {
            return None;
        };
        let projections: Vec<Gemm> = (operations[..count].iter())
            .filter_map(|operation| match operation {
                Operation::Gemm(gemm) => Some(*gemm),
                _ => None,
            })
            .collect();
        let layer = Self {
            kind: plain::kind(recurrence)?,
            projections,
            recurrence: recurrence.clone(),
        };
        let packed = program.buffers().get(recurrence.weights.buffer.0)?.role == Role::Packed;
        let fused = packed && layer.belongs_together() && layer.keeps_threads_busy(on);
        fused.then_some(layer)
    }

    /// Whether there is a product of each direction's input into the recurrence's gates, with the layer's own weights.
    fn belongs_together(&self) -> bool {
        let (op, layout) = (&self.recurrence, &self.recurrence.layout);
        let units = op.hidden * layout.slots;
        let offsets = op.offsets.offsets();
        let (Some(&start), Some(&end)) = (offsets.get(op.steps.start), offsets.get(op.steps.end))
        else {
            return false;
        };
        let fits = |(direction, gemm): (usize, &Gemm)| {
            let weights = direction * layout.len();
            let gates = (direction * op.gate_rows + start).checked_sub(op.first_row);
            let place = |offset: usize| op.weights.at(weights + offset);
            gemm.k == self.projections[0].k
                && gemm.k > 0
                && gemm.n == units
                && gemm.m == end - start
                && !gemm.accumulate
                && gemm.a.strides[1] == 1
                && gemm.b.strides == [units, 1]
                && gemm.c.strides == [units, 1]
                && matches!(gemm.map, None | Some(RowMap::GatherM(_)))
                && gemm.b.region == place(layout.input)
                && gemm.bias == Some(place(layout.input_bias))
                && gemm.c.region.buffer == op.gates.buffer
                && gates.map(|row| op.gates.offset + row * units) == Some(gemm.c.region.offset)
                && ![op.gates.buffer, op.states.h.buffer].contains(&gemm.a.region.buffer)
        };
        self.projections.len() == op.directions
            && end > start
            && self.projections.iter().enumerate().all(fits)
    }

    /// Many sequences do, and so does a single one where each thread has a direction of its own.
    fn keeps_threads_busy(&self, on: On) -> bool {
        let op = &self.recurrence;
        let rows = self.projections[0].m * op.directions;
        let single = op.directions >= on.threads && plain::suits_single(op, on.lanes);
        single || rows / op.steps.len() >= LEAST_SEQUENCES * on.threads
    }

    /// Takes on the next chunk; not if it is another layer's.
    fn extend(&mut self, next: &Self) -> bool {
        let (own, other) = (&self.recurrence, &next.recurrence);
        let same_layer = Arc::ptr_eq(&own.offsets, &other.offsets)
            && own.weights == other.weights
            && own.layout == other.layout
            && own.directions == other.directions
            && own.states.h == other.states.h
            && own.states.c == other.states.c
            && own.gates.buffer == other.gates.buffer
            && own.keeps_gates == other.keeps_gates
            && own.steps.end == other.steps.start;
        let same_gates = !own.keeps_gates
            || (own.gates, own.gate_rows, own.first_row)
                == (other.gates, other.gate_rows, other.first_row);
        let goes_on = |(own, other): (&Gemm, &Gemm)| {
            let rows = match (own.map, other.map) {
                (None, None) => own.a.region.at(own.m * own.a.strides[0]) == other.a.region,
                (Some(RowMap::GatherM(table)), Some(RowMap::GatherM(next))) => {
                    table.at(own.m) == next && own.a.region == other.a.region
                }
                _ => false,
            };
            rows && own.a.strides == other.a.strides && own.k == other.k
        };
        let pairs = || self.projections.iter().zip(&next.projections);
        if !(same_layer && same_gates && pairs().all(goes_on)) {
            return false;
        }
        self.recurrence.steps.end = other.steps.end;
        for (own, other) in self.projections.iter_mut().zip(&next.projections) {
            own.m += other.m;
        }
        if !self.recurrence.keeps_gates {
            // There are none.
            self.recurrence.gate_rows = self.projections[0].m;
        }
        true
    }
}

impl Run for LayerForward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let op = &self.recurrence;
        check(op, accesses)?;
        for gemm in &self.projections {
            let rows = match gemm.map {
                Some(RowMap::GatherM(table)) => accesses.rows_reached(table, gemm.m)?,
                _ => gemm.m,
            };
            accesses.read(gemm.a.region, matrix(&gemm.a, rows, gemm.k))?;
        }
        if op.keeps_gates {
            accesses.write(op.gates, Extents::new(op).gates)?;
        }
        for Extent { region, len } in state_extents(op) {
            accesses.write(region, len)?;
        }
        let gates = op.keeps_gates.then_some(op.gates);
        declare_rows(op, [(gates, true), (None, false)], accesses);
        Ok(())
    }

    fn multiplications(&self) -> usize {
        let products = self.projections.iter().map(Run::multiplications);
        products.fold(multiplications(&self.recurrence), usize::saturating_add)
    }

    fn panels(&self) -> Option<PanelSource> {
        let inputs = self.projections.first()?.k;
        let source = LayerSource::new(&self.recurrence)?.with_inputs(inputs);
        Some(PanelSource::Layer(Box::new(source)))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let op = &self.recurrence;
        let panels = context.layer_panels().ok_or(Error::State(
            "a layer's weights are in panels before it is run",
        ))?;
        let read = |gemm: &Gemm| context.memory.part(gemm.a.region);
        let values = self
            .projections
            .iter()
            .map(read)
            .collect::<Result<Vec<_>>>()?;
        let entering = |direction: usize| {
            let gemm = self.projections.get(direction)?;
            Some(Entering {
                values: &values[direction],
                stride: gemm.a.strides[0],
                inputs: gemm.k,
                rows: match gemm.map {
                    Some(RowMap::GatherM(table)) => Some(context.words(table, gemm.m)),
                    _ => None,
                },
                first: op.offsets.offsets()[op.steps.start],
            })
        };
        let entering = [entering(0), entering(1)];
        run_plain(op, self.kind, panels, entering, context.memory)
    }
}
