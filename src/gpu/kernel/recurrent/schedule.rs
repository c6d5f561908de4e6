//! How the steps of a recurrence become dispatches: the strategy, the size of a workgroup, and how many steps one takes.

use std::ops::Range;

use super::form::Form;
use super::params::Params;
use super::shader::{Kernel, kept_elements, shader, stored, variant};
use crate::error::{Error, Result};
use crate::gpu::options::Strategy;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::Shader;
use crate::gpu::tuner::Choice;
use crate::ops::{Mode, Recurrence};

/// Loop iterations of one invocation in one dispatch. Mesa's software adapter silently ends an invocation's loops after
/// 65,535 iterations in total; the estimate below errs on the high side, and this leaves a margin on top.
const ITERATIONS_PER_DISPATCH: usize = 50_000;

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

/// How the steps of an operation are dispatched.
#[derive(Debug)]
pub(in crate::gpu::kernel) struct Schedule<'a> {
    op: &'a Recurrence,
    /// The backward's: its gates hold products alone.
    rebuilt: bool,
    /// The widest tile's, and by steps, where sequences get fewer, narrower ones.
    forms: Vec<(Form, Shader)>,
    persistent: bool,
    workgroup: usize,
    steps_per_dispatch: usize,
}

impl<'a> Schedule<'a> {
    /// Of a choice, as far as limits allow. A tile's widest phase has work for `threads`.
    pub(in crate::gpu::kernel) fn new(
        (op, kernel): (&'a Recurrence, &Kernel),
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
        let iterations = iterations_per_step(op, form.tile, workgroup);
        let tiles = op.batch.div_ceil(form.tile) * op.directions;
        let macs = multiply_adds(op, op.offsets.batch_size(op.steps.start)).max(1);
        let fits = iterations <= ITERATIONS_PER_DISPATCH;
        if !fits && recorder.options().strategy == Strategy::Persistent {
            return Err(Error::Limit {
                what: "loop iterations of a step of the persistent strategy".to_owned(),
                needed: iterations as u64,
                limit: ITERATIONS_PER_DISPATCH as u64,
                advice: "use the step strategy",
            });
        }
        let persistent = choice.persistent && fits;
        let steps = op
            .steps
            .clone()
            .filter(|_| !persistent && recorder.options().tile.is_none());
        let mut forms = vec![form];
        for narrower in steps.map(|step| form.of_sequences(op.offsets.batch_size(step))) {
            if !forms.contains(&narrower) {
                forms.push(narrower);
            }
        }
        let affordable = (recorder.options().submit_budget / macs).max(1) as usize;
        let steps_per_dispatch = match persistent {
            true => (ITERATIONS_PER_DISPATCH / iterations.max(1))
                .min(affordable)
                .max(1),
            false => STEPS_PER_GROUP,
        };
        log::debug!(
            "recurrence of layer {} (hidden {}, {tiles} tiles, {choice}): {}",
            op.layer,
            op.hidden,
            match persistent {
                true => format!("persistent, {steps_per_dispatch} steps a dispatch"),
                false => "one dispatch for each phase of a step".to_owned(),
            }
        );
        let stored = stored(op, recorder);
        let shader_of = |form| shader(op, kernel, form, &kept_elements(op, form, stored));
        Ok(Self {
            op,
            rebuilt: false,
            forms: (forms.into_iter())
                .map(|form| (form, shader_of(form)))
                .collect(),
            persistent,
            workgroup: match persistent {
                true => workgroup,
                false => workgroup.min(STEP_WORKGROUP),
            },
            steps_per_dispatch,
        })
    }

    /// The same for a backward whose gates were `rebuilt`.
    pub(in crate::gpu::kernel) fn rebuilt(self, rebuilt: bool) -> Self {
        Self { rebuilt, ..self }
    }

    /// The operation's steps in the groups that are dispatched together, first to last.
    pub(in crate::gpu::kernel) fn groups(&self) -> Vec<Range<usize>> {
        let steps = self.op.steps.clone();
        let each = self.steps_per_dispatch;
        steps
            .clone()
            .step_by(each)
            .map(|start| start..steps.end.min(start + each))
            .collect()
    }

    /// Whether a dispatch takes all steps of a group.
    pub(in crate::gpu::kernel) fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// The form of a step's dispatches.
    fn form_at(&self, step: usize) -> &(Form, Shader) {
        let widest = &self.forms[0];
        let wanted = widest.0.of_sequences(self.op.offsets.batch_size(step));
        let mut forms = self.forms.iter();
        forms.find(|(form, _)| *form == wanted).unwrap_or(widest)
    }

    /// Records one dispatch: all steps of `steps` (persistent), or one phase of step `step`.
    pub(in crate::gpu::kernel) fn dispatch(
        &self,
        recorder: &mut Recorder<'_>,
        bindings: &[Binding],
        params: &Params,
        (steps, at): (&Range<usize>, Option<(usize, Phase)>),
    ) -> Result<()> {
        let op = self.op;
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
        overrides.push(("WORKGROUP", self.workgroup as f64));
        overrides.push(("PERSISTENT", f64::from(u8::from(self.persistent))));
        overrides.push(("PHASE", f64::from(phase.number)));
        let (form, shader) = self.form_at(step);
        let tiles = packing.batch_size(step).div_ceil(form.tile);
        let blocks = phase
            .units
            .map_or(1, |units| units.div_ceil(self.workgroup));
        let rows = match self.persistent {
            true => packing.offsets()[steps.end] - packing.offsets()[steps.start],
            false => packing.batch_size(step),
        };
        let mut params = *params;
        (params.first_step, params.last_step) = (steps.start as u32, steps.end as u32);
        recorder.dispatch(&Dispatch {
            shader,
            overrides: &overrides,
            uniform: bytemuck::bytes_of(&params),
            step: Some((step - steps.start) as u32),
            bindings,
            workgroups: [blocks as u32, tiles as u32, op.directions as u32],
            cost: multiply_adds(op, rows),
        })
    }
}

/// Multiply-adds of the recurrence over `rows` rows of each direction.
pub(super) fn multiply_adds(op: &Recurrence, rows: usize) -> u64 {
    let first = op.state * op.hidden * op.layout.slots;
    let second = op.layout.second_inputs * op.layout.second_outputs;
    (op.directions * rows) as u64 * (first + second + op.hidden) as u64
}

/// Loop iterations of an invocation for one step of the persistent kernel, all phases, forward or backward, rounded up.
fn iterations_per_step(op: &Recurrence, tile: usize, workgroup: usize) -> usize {
    // Two numbers of ten rounds each for an element.
    let zoneout = op.spec.zoneout.hidden > 0.0 || op.spec.zoneout.cell > 0.0;
    let draws = match op.mode {
        Mode::Training if zoneout => 2 * 10,
        _ => 0,
    };
    // A product over `terms` for one block of units: the terms, the chunks with their staging, and the arithmetic of the
    // tile's sequences.
    let chunk = 512 / tile;
    let staging = |terms: usize| terms.div_ceil(chunk) * (2 + chunk.div_ceil(workgroup));
    let product = |terms: usize| terms + staging(terms) + tile * (1 + draws) + 8;
    let blocks = |units: usize| units.div_ceil(workgroup);
    let widest = op.hidden.max(op.state);
    let mut iterations = blocks(widest) * product(widest);
    if op.spec.has_second_product() {
        let clip = match op.spec.clip.projection {
            Some(_) => tile * op.layout.second_inputs,
            None => 0,
        };
        iterations += blocks(widest) * (product(widest) + clip);
    }
    if op.spec.layer_norm.is_some() {
        // Up to eleven passes over a row's units, eight slot sums in some, and a reduction after each.
        let reductions = 11 * (workgroup.ilog2() as usize + 1);
        iterations += tile * (blocks(op.hidden) * (11 + 3 * 4 + draws) + reductions);
    }
    iterations + iterations / 4 + 16
}
