//! [`RecurrentBackward`] on the CPU: [`plain`](super::plain) cells, or any cell by its [stages](super::staged).

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::panel_cache::{PackedPanels, PanelSource};
use crate::cpu::parallel::join;
use crate::cpu::plain::{self, Given, Kind, LayerPanels, LayerSource};
use crate::cpu::recurrence::{
    self, Extents, Layer, by_direction, check, no_panels, of_directions, other_input,
    part_of_direction,
};
use crate::cpu::run::{Context, Run};
use crate::cpu::shares::Rows;
use crate::cpu::simd::MOST_LANES;
use crate::cpu::staged::{self, StagedPanels, StagedSource};
use crate::cpu::tile::BackwardRows;
use crate::error::Result;
use crate::ops::{RecurrentBackward, Region};

/// Sizes of the tensors that the backward adds, all directions.
pub(super) struct GradientExtents {
    pub(super) output: usize,
    pub(super) h: usize,
    pub(super) c: usize,
    vectors: usize,
}

impl GradientExtents {
    pub(super) fn new(op: &RecurrentBackward) -> Self {
        let forward = &op.forward;
        let of = |sizes: &[usize]| elements(sizes).saturating_mul(forward.directions);
        Self {
            output: of(&[forward.tokens, forward.state]),
            h: of(&[forward.batch, forward.state]),
            c: of(&[forward.batch, forward.hidden]),
            vectors: of(&[forward.batch, forward.layout.vectors_len()]),
        }
    }
}

impl Run for RecurrentBackward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let op = &self.forward;
        check(op, accesses)?;
        self.validate()?;
        let extents = Extents::new(op);
        accesses.read(op.states.h, extents.h)?;
        accesses.read_optional(other_input(op), extents.h)?;
        accesses.read_optional(op.states.mask, extents.mask)?;
        accesses.read_optional(op.states.c, extents.c)?;
        accesses.read_optional(op.states.second, extents.second)?;
        accesses.write(op.gates, extents.gates)?;
        accesses.write_optional(op.recurrent_sums, extents.gates)?;
        let gradients = GradientExtents::new(self);
        accesses.write(self.output_gradient, gradients.output)?;
        accesses.write(self.h_gradient, gradients.h)?;
        accesses.write_optional(self.c_gradient, gradients.c)?;
        accesses.write_optional(self.vectors(), gradients.vectors)
    }

    fn multiplications(&self) -> usize {
        recurrence::multiplications(&self.forward)
    }

    fn panels(&self) -> Option<PanelSource> {
        let op = &self.forward;
        Some(match LayerSource::new(op) {
            Some(source) => PanelSource::Layer(Box::new(source.with_backward())),
            None => PanelSource::Staged(Box::new(StagedSource::new(op).with_backward())),
        })
    }

    fn scratch(&self) -> usize {
        let op = &self.forward;
        // As much as with any instruction set.
        let width = match plain::kind(op) {
            Some(kind) => plain::scratch_width(op, kind, MOST_LANES),
            None => staged::backward_scratch_width(op, MOST_LANES),
        };
        elements(&[op.directions, op.batch, width])
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        match (context.panels, plain::kind(&self.forward)) {
            (Some(PackedPanels::Layer(panels)), Some(kind)) => {
                self.run_plain(kind, panels, context)
            }
            (Some(PackedPanels::Staged(panels)), _) => self.run_staged(panels, context),
            _ => Err(no_panels()),
        }
    }
}

impl RecurrentBackward {
    /// A cell that is served the fast way.
    fn run_plain(&self, kind: Kind, panels: &LayerPanels, context: Context<'_>) -> Result<()> {
        let op = &self.forward;
        let (units, hidden, extents) = (op.hidden * op.layout.slots, op.hidden, Extents::new(op));
        let h = context.memory.part(op.states.h)?;
        let c = context.memory.optional(op.states.c)?;
        let c = c.as_deref().unwrap_or(&[]);
        let [gates, _, output, d_h, d_c, _] = self.written();
        let scratch = &mut context.scratch[..self.scratch()];
        context
            .memory
            .write_parts([gates, output, d_h, d_c], |parts| {
                let split = |values| of_directions(values, op.directions);
                let run =
                    |direction: usize, [gates, output, d_h, d_c, products]: [&mut [f32]; 5]| {
                        let of =
                            |values, len| part_of_direction(values, len, direction, op.directions);
                        let given = Given {
                            h: of(&h, extents.h),
                            c: of(c, extents.c),
                            d_output: output,
                            rebuilt: self.rebuilt,
                            products: None,
                        };
                        let rows = BackwardRows {
                            gates: Rows::new(gates, units),
                            d_h: Rows::new(d_h, hidden),
                            d_c: Rows::new(d_c, hidden),
                            products: Rows::new(
                                products,
                                plain::scratch_width(op, kind, panels.lanes()),
                            ),
                            ..BackwardRows::absent()
                        };
                        plain::backward(op, (kind, direction), panels, given, rows);
                    };
                let [[g0, g1], [o0, o1], [h0, h1], [c0, c1]] = parts.map(split);
                let [s0, s1] = split(scratch);
                let (first, other) = ([g0, o0, h0, c0, s0], [g1, o1, h1, c1, s1]);
                match op.directions {
                    1 => run(0, first),
                    _ => {
                        join(|| run(0, first), || run(1, other));
                    }
                }
            })
    }

    /// Any cell.
    fn run_staged(&self, panels: &StagedPanels, context: Context<'_>) -> Result<()> {
        let (op, memory) = (&self.forward, context.memory);
        let packed = memory.part(op.weights)?;
        let [h, input] = [op.states.h, op.states.recurrent_input].map(|part| memory.part(part));
        let (h, input) = (h?, input?);
        let [mask, c, second] =
            [op.states.mask, op.states.c, op.states.second].map(|part| memory.optional(part));
        let (mask, c, second) = (mask?, c?, second?);
        let extents = Extents::new(op);
        let mask = mask
            .as_deref()
            .map_or(&[][..], |mask| &mask[..extents.mask]);
        let [c, second] = [&c, &second].map(|part| part.as_deref().unwrap_or(&[]));
        let scratch = &mut context.scratch[..self.scratch()];
        let units = op.hidden * op.layout.slots;
        let widths = [
            units,
            units,
            op.state,
            op.state,
            op.hidden,
            op.layout.vectors_len(),
            staged::backward_scratch_width(op, panels.lanes()),
        ];
        memory.write_parts(self.written(), |parts| {
            let run = |direction: usize, tensors: [&mut [f32]; 7]| {
                let of = |values, len| part_of_direction(values, len, direction, op.directions);
                let given = staged::Given {
                    h: of(&h, extents.h),
                    u: of(&input, extents.h),
                    c: of(c, extents.c),
                    second: of(second, extents.second),
                };
                let mut widths = widths.into_iter();
                let [gates, sums, output, d_h, d_c, vectors, products] =
                    tensors.map(|values| Rows::new(values, widths.next().unwrap_or(0)));
                let rows = BackwardRows {
                    gates,
                    sums,
                    output,
                    d_h,
                    d_c,
                    vectors,
                    products,
                    ..BackwardRows::absent()
                };
                let layer = Layer::new(op, direction, &packed, mask, context.seed);
                staged::backward(&layer, panels, given, rows);
            };
            let [gates, sums, output, d_h, d_c, vectors] = parts;
            let tensors = [gates, sums, output, d_h, d_c, vectors, scratch];
            let [first, other] = by_direction(tensors, op.directions);
            match op.directions {
                1 => run(0, first),
                _ => {
                    join(|| run(0, first), || run(1, other));
                }
            }
        })
    }

    fn written(&self) -> [Extent; 6] {
        let op = &self.forward;
        let gates = Extents::new(op).gates;
        let gradients = GradientExtents::new(self);
        let optional = |region, len| Extent::optional(region, len, op.gates);
        [
            Extent::new(op.gates, gates),
            optional(op.recurrent_sums, gates),
            Extent::new(self.output_gradient, gradients.output),
            Extent::new(self.h_gradient, gradients.h),
            optional(self.c_gradient, gradients.c),
            optional(self.vectors(), gradients.vectors),
        ]
    }

    /// The vectors' sums, unless there is no vector.
    fn vectors(&self) -> Option<Region> {
        self.vector_sums
            .filter(|_| self.forward.layout.vectors_len() > 0)
    }
}
