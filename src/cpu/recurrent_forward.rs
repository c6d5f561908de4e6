//! [`Recurrence`] forward on the CPU: [`plain`](super::plain) cells, or any cell by its [stages](super::staged).

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::{Extent, Memory};
use crate::cpu::panel_cache::{PackedPanels, PanelSource};
use crate::cpu::parallel::join;
use crate::cpu::plain::{self, Entering, Kind, LayerPanels, LayerSource};
use crate::cpu::recurrence::{
    self, Extents, Layer, check, no_panels, of_directions, state_extents,
};
use crate::cpu::run::{Context, Run};
use crate::cpu::shares::Rows;
use crate::cpu::staged::{self, StagedPanels, StagedSource};
use crate::cpu::tile::ForwardRows;
use crate::error::Result;
use crate::ops::Recurrence;

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
        match plain::kind(self) {
            Some(_) => 0,
            None => elements(&[
                self.directions,
                self.batch,
                staged::forward_scratch_width(self),
            ]),
        }
    }

    fn multiplications(&self) -> usize {
        recurrence::multiplications(self)
    }

    fn panels(&self) -> Option<PanelSource> {
        Some(match LayerSource::new(self) {
            Some(source) => PanelSource::Layer(Box::new(source)),
            None => PanelSource::Staged(Box::new(StagedSource::new(self))),
        })
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        match (context.panels, plain::kind(self)) {
            (Some(PackedPanels::Layer(panels)), Some(kind)) => {
                run_plain(self, kind, panels, [None; 2], context.memory)
            }
            (Some(PackedPanels::Staged(panels)), _) => run_staged(self, panels, context),
            _ => Err(no_panels()),
        }
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
            let rows = ForwardRows::plain(
                Rows::new(gates, units),
                Rows::new(h, op.hidden),
                Rows::new(c, op.hidden),
            );
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

/// Any cell.
fn run_staged(op: &Recurrence, panels: &StagedPanels, context: Context<'_>) -> Result<()> {
    let packed = context.memory.part(op.weights)?;
    let gates = Extents::new(op).gates;
    let [h, input, mask, c, second] = state_extents(op);
    let sums = Extent::optional(op.recurrent_sums, gates, op.gates);
    let parts = [
        Extent::new(op.gates, gates),
        sums,
        h,
        input,
        mask,
        c,
        second,
    ];
    let scratch = &mut context.scratch[..op.scratch()];
    let widths = [
        op.hidden * op.layout.slots,
        op.hidden * op.layout.slots,
        op.state,
        op.state,
        op.hidden,
        op.hidden,
        staged::forward_scratch_width(op),
    ];
    context.memory.write_parts(parts, |parts| {
        let [gates, sums, h, input, mask, c, second] = parts;
        let mask = &*mask;
        let run = |direction: usize, tensors: [&mut [f32]; 7]| {
            let mut widths = widths.into_iter();
            let [gates, sums, h, input, c, second, scratch] =
                tensors.map(|values| Rows::new(values, widths.next().unwrap_or(0)));
            let rows = ForwardRows {
                gates,
                sums,
                h,
                input,
                c,
                second,
                scratch,
            };
            let layer = Layer::new(op, direction, &packed, mask, context.seed);
            staged::forward(&layer, panels, rows);
        };
        let tensors = [gates, sums, h, input, c, second, scratch];
        let [first, other] = recurrence::by_direction(tensors, op.directions);
        match op.directions {
            1 => run(0, first),
            _ => {
                join(|| run(0, first), || run(1, other));
            }
        }
    })
}
