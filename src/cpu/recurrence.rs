//! What the two recurrent operations share: one direction of a layer, its weights, and the rows of a step.

use crate::config::{Activations, CellSpec};
use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::error::{Error, Result};
use crate::ops::{Mode, RandomPurpose, RandomSite, Recurrence, Region, WeightParts};
use crate::random::uniforms;

/// The packed vectors of one direction; what the cell does not have is empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    peephole: &'a [f32],
    /// `[hidden, slots]`
    pub(super) norm_recurrent: &'a [f32],
    /// `[hidden]`
    pub(super) norm_cell_weight: &'a [f32],
    /// `[hidden]`
    pub(super) norm_cell_bias: &'a [f32],
    /// `[hidden, slots]`
    pub(super) norm_gates: &'a [f32],
    /// `[hidden, slots]`
    pub(super) gate_bias: &'a [f32],
    /// `[state]`
    pub(super) projection_bias: &'a [f32],
}

impl<'a> Weights<'a> {
    fn new(parts: &WeightParts, packed: &'a [f32]) -> Self {
        let slice = |(offset, len): (usize, usize)| match len {
            0 => &[],
            _ => &packed[offset..offset + len],
        };
        Self {
            peephole: slice(parts.peephole),
            norm_recurrent: slice(parts.norm_recurrent),
            norm_cell_weight: slice(parts.norm_cell_weight),
            norm_cell_bias: slice(parts.norm_cell_bias),
            norm_gates: slice(parts.norm_gates),
            gate_bias: slice(parts.gate_bias),
            projection_bias: slice(parts.projection_bias),
        }
    }

    /// The peephole weights of a slot, `[hidden]`: of `i`, `f` and `o`, if the cell has them.
    pub(super) fn peephole(&self, slot: usize) -> Option<&'a [f32]> {
        let third = peephole_third(slot)?;
        let hidden = self.peephole.len() / 3;
        (hidden > 0).then(|| &self.peephole[third * hidden..][..hidden])
    }
}

/// Which third of the peephole weights (`i f o`) an LSTM slot (`i f g o`) has.
pub(super) fn peephole_third(slot: usize) -> Option<usize> {
    [Some(0), Some(1), None, Some(2)][slot]
}

/// One direction of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) op: &'a Recurrence,
    pub(super) direction: usize,
    pub(super) weights: Weights<'a>,
    /// Recurrent dropout's factors, `[batch, state]`, or empty.
    pub(super) mask: &'a [f32],
    seed: u64,
}

impl<'a> Layer<'a> {
    pub(super) fn new(
        op: &'a Recurrence,
        direction: usize,
        packed: &'a [f32],
        mask: &'a [f32],
        seed: u64,
    ) -> Self {
        let len = op.layout.len();
        let packed = &packed[direction * len..(direction + 1) * len];
        let mask_len = op.batch * op.state;
        Self {
            op,
            direction,
            weights: Weights::new(&WeightParts::new(op), packed),
            mask: match mask {
                [] => &[],
                _ => &mask[direction * mask_len..][..mask_len],
            },
            seed,
        }
    }

    pub(super) fn spec(&self) -> &'a CellSpec {
        &self.op.spec
    }

    pub(super) fn activations(&self) -> &'a Activations {
        &self.op.spec.activations[self.direction]
    }

    pub(super) fn units(&self) -> usize {
        self.op.hidden * self.op.layout.slots
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.spec().layer_norm.map_or(0.0, |norm| norm.epsilon)
    }

    /// Recurrent dropout's factors of a sequence, if there are any.
    pub(super) fn mask_row(&self, sequence: usize) -> Option<&'a [f32]> {
        let width = self.op.state;
        self.mask.get(sequence * width..(sequence + 1) * width)
    }

    /// How probable it is that a unit keeps its old state in zoneout.
    pub(super) fn zoneout_probability(&self, purpose: RandomPurpose) -> f32 {
        let zoneout = self.spec().zoneout;
        match purpose {
            RandomPurpose::ZoneoutCell => zoneout.cell,
            _ => zoneout.hidden,
        }
    }

    /// In training, what a sequence's units draw at a step.
    pub(super) fn zoneout_draw(
        &self,
        purpose: RandomPurpose,
        sequence: usize,
        step: usize,
    ) -> Option<Draw> {
        let site = RandomSite {
            layer: self.op.layer as u32,
            direction: self.direction as u32,
            purpose,
        };
        (self.op.mode == Mode::Training).then(|| Draw {
            seed: self.seed,
            site,
            sequence: self.op.offsets.order()[sequence] as u32,
            step: step as u32,
        })
    }
}

/// Random numbers of a sequence's units at a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    seed: u64,
    site: RandomSite,
    sequence: u32,
    step: u32,
}

impl Draw {
    /// Those of four units, from unit `4 * block` on.
    pub(super) fn block(&self, block: usize) -> [f32; 4] {
        uniforms(self.seed, self.site, self.sequence, self.step, block as u32)
    }
}

/// Multiplications of the recurrent products.
pub(super) fn multiplications(op: &Recurrence) -> usize {
    let offsets = op.offsets.offsets();
    let rows = offsets[op.steps.end] - offsets[op.steps.start];
    let of_row = elements(&[op.state, op.hidden, op.layout.slots]);
    elements(&[of_row, rows, op.directions])
}

/// Sequences that run at the first step of the operation; later ones have no more.
pub(super) fn most_rows(op: &Recurrence) -> usize {
    match op.steps.is_empty() {
        true => 0,
        false => op.offsets.batch_size(op.steps.start),
    }
}

/// Sizes of the tensors of all directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extents {
    /// `gates`, and `recurrent_sums`
    pub(super) gates: usize,
    /// `h`, and `recurrent_input`
    pub(super) h: usize,
    /// `[directions, batch, state]`
    pub(super) mask: usize,
    pub(super) c: usize,
    pub(super) second: usize,
    pub(super) weights: usize,
}

impl Extents {
    pub(super) fn new(op: &Recurrence) -> Self {
        let rows = op.batch.saturating_add(op.tokens);
        let of = |sizes: &[usize]| elements(sizes).saturating_mul(op.directions);
        Self {
            gates: of(&[op.gate_rows, op.hidden, op.layout.slots]),
            h: of(&[rows, op.state]),
            mask: of(&[op.batch, op.state]),
            c: of(&[rows, op.hidden]),
            second: of(&[op.tokens, op.hidden]),
            weights: of(&[op.layout.len()]),
        }
    }
}

/// The states apart from `h` if it is also what enters the recurrent product.
pub(super) fn other_input(op: &Recurrence) -> Option<Region> {
    Some(op.states.recurrent_input).filter(|&input| input != op.states.h)
}

/// The region and length of each of `h`, `recurrent_input` (if it is another one), `mask`, `c` and `second`.
pub(super) fn state_extents(op: &Recurrence) -> [Extent; 5] {
    let (states, len) = (&op.states, Extents::new(op));
    let optional = |region, len| Extent::optional(region, len, states.h);
    [
        Extent::new(states.h, len.h),
        optional(other_input(op), len.h),
        optional(states.mask, len.mask),
        optional(states.c, len.c),
        optional(states.second, len.second),
    ]
}

/// Names the rows that the forward computes, whose old content it does not look at, and those of other steps. `gates` are the
/// buffers with rows of gates, each with whether the forward replaces them.
pub(super) fn declare_rows(
    op: &Recurrence,
    gates: [(Option<Region>, bool); 2],
    accesses: &mut Accesses<'_>,
) {
    let (offsets, units) = (op.offsets.offsets(), op.hidden * op.layout.slots);
    let (first, end) = (offsets[op.steps.start], offsets[op.steps.end]);
    let states = [
        Some((op.states.h, op.state, op.batch)),
        other_input(op).map(|input| (input, op.state, op.batch)),
        op.states.c.map(|c| (c, op.hidden, op.batch)),
        // It has no rows of initial states.
        op.states.second.map(|second| (second, op.hidden, 0)),
    ];
    for direction in 0..op.directions {
        for (region, width, initial) in states.into_iter().flatten() {
            let place =
                |row: usize| region.at((direction * (initial + op.tokens) + initial + row) * width);
            accesses.replaced(place(first), (end - first) * width);
            accesses.left_alone(place(end), (op.tokens - end) * width);
        }
        let [start, stop] = [first, end].map(|row| row - op.first_row);
        for (region, replaces) in gates {
            let Some(region) = region else { continue };
            let place = |row: usize| region.at((direction * op.gate_rows + row) * units);
            accesses.left_alone(place(0), start * units);
            accesses.left_alone(place(stop), (op.gate_rows - stop) * units);
            if replaces {
                accesses.replaced(place(start), (stop - start) * units);
            }
        }
    }
}

/// Checks everything about a recurrence that does not concern a buffer, and names its weights.
pub(super) fn check(op: &Recurrence, accesses: &mut Accesses<'_>) -> Result<()> {
    if op.running.is_some() {
        return Err(Error::option(
            "storage",
            "running states apart from the kept ones are for the GPU device alone",
        ));
    }
    op.validate()?;
    accesses.read(op.weights, Extents::new(op).weights)
}

/// The parts of a tensor of all directions; empty ones of an absent tensor.
pub(super) fn of_directions(values: &mut [f32], directions: usize) -> [&mut [f32]; 2] {
    let (first, second) = values.split_at_mut(values.len() / directions);
    [first, second]
}

/// Each tensor's part of either direction.
pub(super) fn by_direction<const N: usize>(
    tensors: [&mut [f32]; N],
    directions: usize,
) -> [[&mut [f32]; N]; 2] {
    let mut others: [&mut [f32]; N] = std::array::from_fn(|_| &mut [][..]);
    let mut others_left = others.iter_mut();
    let first = tensors.map(|values| {
        let [first, second] = of_directions(values, directions);
        if let Some(other) = others_left.next() {
            *other = second;
        }
        first
    });
    [first, others]
}

/// A direction's part of a tensor that has `len` elements in all; nothing of an absent one.
pub(super) fn part_of_direction(
    values: &[f32],
    len: usize,
    direction: usize,
    directions: usize,
) -> &[f32] {
    match values.is_empty() {
        true => values,
        false => &values[..len][direction * (len / directions)..][..len / directions],
    }
}

/// A recurrence always asks for panels: a plan that gives it others, or none, is a mistake in the device.
pub(super) fn no_panels() -> Error {
    Error::State("a recurrence needs its weights in panels")
}
