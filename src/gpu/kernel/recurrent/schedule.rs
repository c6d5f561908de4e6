//! How the steps of a recurrence become dispatches: the strategy, the size of a workgroup, and how many steps one takes.

use std::ops::Range;

use super::choice::persistent_from;
use super::cost::{ITERATIONS_PER_DISPATCH, iterations_per_step, multiply_adds};
use super::form::Form;
use super::params::Params;
use super::shader::{Kernel, kept_elements, shader, stored, uniform, variant};
use crate::error::{Error, Result};
use crate::gpu::choice::{Choice, TILES};
use crate::gpu::options::Strategy;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::Shader;
use crate::ops::Recurrence;

/// Steps of one group of dispatches when each step is a dispatch: they share a uniform.
const STEPS_PER_GROUP: usize = 4096;

/// Invocations of a workgroup when units are spread over workgroups.
const STEP_WORKGROUP: usize = 64;

/// A phase of a step, as the shader numbers it, and the units that it is spread over.
#[derive(Debug, Clone, Copy)]
pub(in crate::gpu::kernel) struct Phase {
    pub(in crate::gpu::kernel) number: u32,
    /// `None`: the workgroup takes whole rows.
    pub(in crate::gpu::kernel) units: Option<usize>,
}

/// Neighbouring steps that share a dispatch or, step by step, a uniform.
#[derive(Debug, Clone)]
pub(in crate::gpu::kernel) struct Group {
    pub(in crate::gpu::kernel) steps: Range<usize>,
    /// Whether one dispatch takes them all.
    pub(in crate::gpu::kernel) persistent: bool,
}

/// How the steps of an operation are dispatched, or of the cells of a wave together.
#[derive(Debug)]
pub(in crate::gpu::kernel) struct Schedule<'a> {
    /// Of several cells their [`lead`](super::wave::lead).
    op: &'a Recurrence,
    cells: usize,
    /// Whether the kernel takes several cells.
    many: bool,
    /// The backward's: its gates hold products alone.
    rebuilt: bool,
    /// The widest tile's, and, where sequences get fewer, narrower ones.
    forms: Vec<(Form, Shader)>,
    /// The first step of persistent dispatches.
    persistent_from: usize,
    /// Of persistent dispatches.
    workgroup: usize,
    /// Loop iterations of a step in a persistent dispatch.
    iterations: usize,
    /// Multiply-adds of one submission.
    budget: u64,
}

impl<'a> Schedule<'a> {
    /// Of a choice, as far as limits allow. A tile's widest phase has work for `threads`.
    pub(in crate::gpu::kernel) fn new(
        (op, kernel, cells): (&'a Recurrence, &Kernel, usize),
        choice: Choice,
        threads: usize,
        recorder: &Recorder<'_>,
    ) -> Result<Self> {
        let form = Form::new(choice);
        let limits = recorder.limits();
        let most = limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x)
            .min(256);
        let workgroup = threads
            .next_power_of_two()
            .clamp(form.least_workgroup(), most as usize);
        // Of the tile or a narrower one that it may give way to.
        let tiles = TILES.into_iter().filter(|tile| *tile <= form.tile);
        let iterations = tiles.map(|tile| iterations_per_step(op, tile, workgroup));
        let iterations = iterations.max().unwrap_or(1).max(1);
        let fits = iterations <= ITERATIONS_PER_DISPATCH;
        if !fits && recorder.options().strategy == Strategy::Persistent {
            return Err(Error::Limit {
                what: "loop iterations of a step of the persistent strategy".to_owned(),
                needed: iterations as u64,
                limit: ITERATIONS_PER_DISPATCH as u64,
                advice: "use the step strategy",
            });
        }
        let persistent_from = match fits {
            true => persistent_from((op, cells), choice, recorder),
            false => op.steps.end,
        };
        // Persistent on a GPU, the widest tile's is fast enough for fewer sequences, and one pipeline is made less.
        let narrows = persistent_from > op.steps.start || recorder.software_threads().is_some();
        let steps = op
            .steps
            .clone()
            .filter(|_| narrows && recorder.options().tile.is_none());
        let mut forms = vec![form];
        for narrower in steps.map(|step| form.of_sequences(op.offsets.batch_size(step))) {
            if !forms.contains(&narrower) {
                forms.push(narrower);
            }
        }
        log::debug!(
            "recurrence of layer {} (hidden {}, {} sequences, {choice}): steps {:?} persistent, steps {:?} by dispatches for \
             each of their phases",
            op.layer,
            op.hidden,
            op.batch,
            persistent_from..op.steps.end,
            op.steps.start..persistent_from,
        );
        let stored = stored(op, recorder);
        let shader_of = |form| shader(op, kernel, form, &kept_elements(op, form, stored));
        Ok(Self {
            op,
            cells,
            many: kernel.many,
            rebuilt: false,
            iterations,
            forms: (forms.into_iter())
                .map(|form| (form, shader_of(form)))
                .collect(),
            persistent_from,
            workgroup,
            budget: recorder.options().submit_budget,
        })
    }

    /// The same for a backward whose gates were `rebuilt`.
    pub(in crate::gpu::kernel) fn rebuilt(self, rebuilt: bool) -> Self {
        Self { rebuilt, ..self }
    }

    /// The operation's steps in the groups that are dispatched together, first to last.
    pub(in crate::gpu::kernel) fn groups(&self) -> Vec<Group> {
        let (mut groups, mut start) = (Vec::new(), self.op.steps.start);
        while start < self.op.steps.end {
            let persistent = start >= self.persistent_from;
            let (form, most) = (self.form_at(start).0, self.most_steps(start, persistent));
            let belongs = |step: &usize| match persistent {
                true => self.form_at(*step).0 == form,
                false => *step < self.persistent_from,
            };
            let steps = (start..self.op.steps.end).take(most);
            let end = start + steps.take_while(belongs).count();
            groups.push(Group {
                steps: start..end,
                persistent,
            });
            start = end;
        }
        groups
    }

    /// How many steps from `start` on a group may have.
    fn most_steps(&self, start: usize, persistent: bool) -> usize {
        if !persistent {
            return STEPS_PER_GROUP;
        }
        let macs = self.multiply_adds(self.op.offsets.batch_size(start)).max(1);
        let affordable = usize::try_from(self.budget / macs).unwrap_or(usize::MAX);
        (ITERATIONS_PER_DISPATCH / self.iterations)
            .min(affordable)
            .max(1)
    }

    /// The form of a step's dispatches.
    fn form_at(&self, step: usize) -> &(Form, Shader) {
        let widest = &self.forms[0];
        let wanted = widest.0.of_sequences(self.op.offsets.batch_size(step));
        let mut forms = self.forms.iter();
        forms.find(|(form, _)| *form == wanted).unwrap_or(widest)
    }

    /// Multiply-adds over so many rows of each cell.
    fn multiply_adds(&self, rows: usize) -> u64 {
        self.cells as u64 * multiply_adds(self.op, rows)
    }

    /// The cells' parameters for the steps of a group; what has fewer steps than the lead may have none in it.
    fn uniform(&self, cells: &[Params], steps: &Range<usize>) -> Vec<u8> {
        let (skipped, len) = (steps.start - self.op.steps.start, steps.len());
        let of_group = |params: &Params| {
            let (mut params, end) = (*params, params.last_step);
            params.first_step = end.min(params.first_step + skipped as u32);
            params.last_step = end.min(params.first_step + len as u32);
            params
        };
        let cells: Vec<Params> = cells.iter().map(of_group).collect();
        match self.many {
            true => uniform(&cells),
            false => bytemuck::cast_slice(&cells).to_vec(),
        }
    }

    /// Records one dispatch: all steps of a persistent group, or one phase of a step.
    pub(in crate::gpu::kernel) fn dispatch(
        &self,
        recorder: &mut Recorder<'_>,
        bindings: &[Binding],
        cells: &[Params],
        (group, at): (&Group, Option<(usize, Phase)>),
    ) -> Result<()> {
        let op = self.op;
        let steps = &group.steps;
        let workgroup = match group.persistent {
            true => self.workgroup,
            false => self.workgroup.min(STEP_WORKGROUP),
        };
        let packing = &op.offsets;
        let (step, phase) = match at {
            Some((step, phase)) => (step, phase),
            None => (
                steps.start,
                Phase {
                    number: 0,
                    units: None,
                },
            ),
        };
        let mut overrides = variant(op);
        if self.rebuilt && op.spec.is_per_gate_norm() {
            overrides.push(("REBUILT", 1.0));
        }
        overrides.push(("WORKGROUP", workgroup as f64));
        overrides.push(("PERSISTENT", f64::from(u8::from(group.persistent))));
        overrides.push(("PHASE", f64::from(phase.number)));
        let (form, shader) = self.form_at(step);
        let tiles = packing.batch_size(step).div_ceil(form.tile);
        let blocks = phase.units.map_or(1, |units| units.div_ceil(workgroup));
        let rows = match group.persistent {
            true => packing.offsets()[steps.end] - packing.offsets()[steps.start],
            false => packing.batch_size(step),
        };
        recorder.dispatch(&Dispatch {
            shader,
            overrides: &overrides,
            uniform: &self.uniform(cells, steps),
            step: Some((step - steps.start) as u32),
            bindings,
            workgroups: [
                blocks as u32,
                tiles as u32,
                (cells.len() * op.directions) as u32,
            ],
            cost: self.multiply_adds(rows),
        })
    }
}
