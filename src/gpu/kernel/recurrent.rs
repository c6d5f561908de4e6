//! What both recurrent kernels share: the shader's modules and overrides for a cell, its uniform, and how many steps of
//! time a dispatch may take.

use std::ops::Range;

use crate::config::{Cell, Coupled, GruReset, GruUpdate, LayerNormKind, Peephole};
use crate::error::{Error, Result};
use crate::gpu::options::Strategy;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{Mode, Recurrence, Region};

/// Sequences of a workgroup; `TILE` in the shader.
pub(super) const TILE: usize = 4;

/// Loop iterations of one invocation in one dispatch. Mesa's software adapter silently ends an invocation's loops after
/// 65,535 iterations in total; the estimate below errs on the high side, and this leaves a margin on top.
const ITERATIONS_PER_DISPATCH: usize = 50_000;

/// Steps of one group of dispatches when each step is a dispatch: they share a uniform.
const STEPS_PER_GROUP: usize = 4096;

/// Invocations of a workgroup when units are spread over workgroups.
const STEP_WORKGROUP: usize = 64;

/// `Parameters` in shaders/lib/recurrent.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    hidden: u32,
    state: u32,
    batch: u32,
    tokens: u32,
    pub(super) first_step: u32,
    pub(super) last_step: u32,
    first_row: u32,
    gate_rows: u32,
    offsets: u32,
    order: u32,
    weights_stride: u32,
    pub(super) recurrent: u32,
    pub(super) second: u32,
    second_inputs: u32,
    second_outputs: u32,
    peephole: u32,
    norm_recurrent: u32,
    norm_cell_weight: u32,
    norm_cell_bias: u32,
    norm_gates: u32,
    gate_bias: u32,
    projection_bias: u32,
    vectors: u32,
    vectors_len: u32,
    h: u32,
    recurrent_input: u32,
    mask: u32,
    c: u32,
    second_rows: u32,
    gates: u32,
    recurrent_sums: u32,
    pub(super) d_h: u32,
    pub(super) d_c: u32,
    pub(super) scratch: u32,
    pub(super) scratch_second: u32,
    pub(super) vector_sums: u32,
    pub(super) d_output: u32,
    layer: u32,
    epsilon: f32,
    clip_gates: f32,
    clip_cell: f32,
    clip_hidden: f32,
    clip_projection: f32,
    zoneout_hidden: f32,
    zoneout_cell: f32,
    padding: [u32; 3],
    activations: [[f32; 4]; 6],
}

impl Params {
    /// All but the places of the backward's own buffers.
    pub(super) fn new(op: &Recurrence) -> Self {
        let layout = &op.layout;
        let word = |value: usize| value as u32;
        let place = |region: Option<Region>| region.map_or(0, |region| word(region.offset));
        let clip = op.spec.clip;
        let mut activations = [[0.0; 4]; 6];
        for (direction, of_direction) in op.spec.activations.into_iter().enumerate() {
            for (role, activation) in [
                of_direction.gate,
                of_direction.candidate,
                of_direction.hidden,
            ]
            .into_iter()
            .enumerate()
            {
                let (_, alpha, beta) = activation.code();
                activations[3 * direction + role] = [alpha, beta, 0.0, 0.0];
            }
        }
        Self {
            hidden: word(op.hidden),
            state: word(op.state),
            batch: word(op.batch),
            tokens: word(op.tokens),
            first_step: word(op.steps.start),
            last_step: word(op.steps.end),
            first_row: word(op.first_row),
            gate_rows: word(op.gate_rows),
            offsets: word(op.offsets_table.0),
            order: word(op.order_table.0),
            weights_stride: word(layout.len()),
            recurrent: word(layout.recurrent),
            second: word(layout.second),
            second_inputs: word(layout.second_inputs),
            second_outputs: word(layout.second_outputs),
            peephole: word(layout.peephole),
            norm_recurrent: word(layout.norm_recurrent),
            norm_cell_weight: word(layout.norm_cell_weight),
            norm_cell_bias: word(layout.norm_cell_bias),
            norm_gates: word(layout.norm_gates),
            gate_bias: word(layout.gate_bias),
            projection_bias: word(layout.projection_bias),
            vectors: word(layout.vectors),
            vectors_len: word(layout.vectors_len()),
            h: word(op.states.h.offset),
            recurrent_input: word(op.states.recurrent_input.offset),
            mask: place(op.states.mask),
            c: place(op.states.c),
            second_rows: place(op.states.second),
            gates: word(op.gates.offset / layout.slots),
            recurrent_sums: place(op.recurrent_sums) / word(layout.slots),
            d_h: 0,
            d_c: 0,
            scratch: 0,
            scratch_second: 0,
            vector_sums: 0,
            d_output: 0,
            layer: word(op.layer),
            epsilon: op.spec.layer_norm.map_or(0.0, |norm| norm.epsilon as f32),
            clip_gates: clip.gates.unwrap_or(0.0),
            clip_cell: clip.cell.unwrap_or(0.0),
            clip_hidden: clip.hidden.unwrap_or(0.0),
            clip_projection: clip.projection.unwrap_or(0.0),
            zoneout_hidden: op.spec.zoneout.hidden,
            zoneout_cell: op.spec.zoneout.cell,
            padding: [0; 3],
            activations,
        }
    }
}

macro_rules! module {
    ($path:literal) => {
        include_str!(concat!("../../../shaders/", $path))
    };
}

/// The row of a cell in the table of cells: what its shader is made of besides the modules that all share.
fn cell_modules(op: &Recurrence) -> (&'static str, Vec<&'static str>) {
    let norm = op.spec.layer_norm.map(|norm| norm.kind);
    match (op.spec.cell, norm, op.spec.reset) {
        (Cell::Elman, ..) => (
            "elman",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("lib/no_second.wgsl"),
                module!("cell/elman.wgsl"),
            ],
        ),
        (Cell::Gru, Some(_), _) => (
            "gru_whole_norm",
            vec![
                module!("lib/no_second.wgsl"),
                module!("cell/gru_unit.wgsl"),
                module!("cell/whole_norm.wgsl"),
                module!("cell/gru_whole_norm.wgsl"),
            ],
        ),
        (Cell::Gru, None, GruReset::After) => (
            "gru",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("lib/no_second.wgsl"),
                module!("cell/gru_unit.wgsl"),
                module!("cell/gru.wgsl"),
            ],
        ),
        (Cell::Gru, None, GruReset::Before) => (
            "gru_reset_before",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("cell/gru_unit.wgsl"),
                module!("cell/gru_reset_before.wgsl"),
            ],
        ),
        (Cell::Lstm, None, _) => (
            "lstm",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("cell/lstm_unit.wgsl"),
                module!("cell/lstm_projection.wgsl"),
                module!("cell/lstm.wgsl"),
            ],
        ),
        (Cell::Lstm, Some(LayerNormKind::WholeThenSum), _) => (
            "lstm_whole_norm",
            vec![
                module!("lib/no_second.wgsl"),
                module!("cell/lstm_unit.wgsl"),
                module!("cell/whole_norm.wgsl"),
                module!("cell/lstm_whole_norm.wgsl"),
            ],
        ),
        (Cell::Lstm, Some(LayerNormKind::PerGate), _) => (
            "lstm_gate_norm",
            vec![
                module!("cell/lstm_unit.wgsl"),
                module!("cell/lstm_projection.wgsl"),
                module!("cell/lstm_gate_norm.wgsl"),
            ],
        ),
    }
}

/// The shader of a kernel (`main`, its source's last module) for the cell of `op`.
pub(super) fn shader(op: &Recurrence, kernel: &str, main: &str, bindings: &[Access]) -> Shader {
    let (cell, of_cell) = cell_modules(op);
    let gates = match op.layout.slots {
        1 => module!("lib/gates_scalar.wgsl"),
        _ => module!("lib/gates_vector.wgsl"),
    };
    let mut modules = vec![
        gates,
        super::lib::RANDOM,
        module!("lib/activation.wgsl"),
        super::lib::STEP,
        module!("lib/recurrent.wgsl"),
        module!("lib/reduce_vector.wgsl"),
    ];
    modules.extend(of_cell);
    modules.push(main);
    Shader::new(
        format!("{kernel}_{cell}"),
        &modules,
        bindings,
        size_of::<Params>(),
    )
}

/// The storage buffers that both kernels bind, in the shader's order.
pub(super) fn bindings(op: &Recurrence) -> Vec<Binding> {
    let sums = op.recurrent_sums.unwrap_or(op.gates);
    vec![
        Binding::Read(op.weights),
        Binding::Read(op.weights),
        Binding::Table,
        Binding::ReadWrite(op.gates.buffer),
        Binding::ReadWrite(sums.buffer),
        Binding::ReadWrite(op.states.h.buffer),
    ]
}

/// How [`bindings`] are used.
pub(super) const ACCESS: [Access; 6] = [
    Access::Read,
    Access::Read,
    Access::Read,
    Access::ReadWrite,
    Access::ReadWrite,
    Access::ReadWrite,
];

/// The override constants of the cell's variant.
fn variant(op: &Recurrence) -> Vec<(&'static str, f64)> {
    let spec = &op.spec;
    let flag = |on: bool| f64::from(u8::from(on));
    let [forward, reverse] = spec.activations;
    let code = |activation: crate::config::Activation| f64::from(activation.code().0);
    let mut overrides = vec![
        ("HAS_NORM", flag(spec.layer_norm.is_some())),
        ("HAS_SECOND", flag(spec.has_second_product())),
        ("WHOLE_NORM", flag(spec.is_whole_norm())),
        ("CLIP_GATES", flag(spec.clip.gates.is_some())),
        ("ZONEOUT_HIDDEN", flag(spec.zoneout.hidden > 0.0)),
        ("SAMPLED", flag(op.mode == Mode::Training)),
        ("MASKED", flag(op.states.mask.is_some())),
        ("CANDIDATE_0", code(forward.candidate)),
        ("CANDIDATE_1", code(reverse.candidate)),
        ("PROJECTION", flag(spec.projection.is_some())),
        ("GATE_0", code(forward.gate)),
        ("GATE_1", code(reverse.gate)),
    ];
    if spec.cell == Cell::Gru {
        overrides.push(("TAKE_NEW", flag(spec.update == GruUpdate::TakeNew)));
    }
    if spec.cell == Cell::Lstm {
        let peephole = match spec.peephole {
            None => 0.0,
            Some(Peephole::New) => 1.0,
            Some(Peephole::Old) => 2.0,
        };
        let coupled = match spec.coupled {
            None => 0.0,
            Some(Coupled::ForgetFromInput) => 1.0,
            Some(Coupled::InputFromForget) => 2.0,
        };
        overrides.extend([
            ("PEEPHOLE", peephole),
            ("COUPLED", coupled),
            ("CLIP_CELL", flag(spec.clip.cell.is_some())),
            ("CLIP_HIDDEN", flag(spec.clip.hidden.is_some())),
            ("CLIP_PROJECTION", flag(spec.clip.projection.is_some())),
            ("ZONEOUT_CELL", flag(spec.zoneout.cell > 0.0)),
            ("HIDDEN_0", code(forward.hidden)),
            ("HIDDEN_1", code(reverse.hidden)),
        ]);
    }
    overrides
}

/// A phase of a step, as the shader numbers it, and the units that it is spread over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    pub(super) number: u32,
    /// `None`: the workgroup takes whole rows.
    pub(super) units: Option<usize>,
}

/// How the steps of an operation are dispatched.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    op: &'a Recurrence,
    persistent: bool,
    workgroup: usize,
    steps_per_dispatch: usize,
}

impl<'a> Schedule<'a> {
    /// Chooses the strategy, or takes the one that was asked for.
    pub(super) fn new(op: &'a Recurrence, recorder: &Recorder<'_>) -> Result<Self> {
        let limits = recorder.limits();
        let widest = op.hidden.max(op.state);
        let most = limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x)
            .min(256);
        let workgroup = widest.next_power_of_two().clamp(32, most as usize);
        let iterations = iterations_per_step(op, workgroup);
        let tiles = op.batch.div_ceil(TILE) * op.directions;
        // Small layers are bound by the dispatches of a step; large ones by the products, which one workgroup for each tile cannot
        // spread. In between it takes enough tiles to occupy the cores.
        let suits = op.hidden <= 64 || (op.hidden <= 256 && tiles >= 16);
        let fits = iterations <= ITERATIONS_PER_DISPATCH;
        let persistent = match recorder.options().strategy {
            Strategy::Auto => suits && fits,
            Strategy::Step => false,
            Strategy::Persistent if fits => true,
            Strategy::Persistent => {
                return Err(Error::Limit {
                    what: "loop iterations of a step of the persistent strategy".to_owned(),
                    needed: iterations as u64,
                    limit: ITERATIONS_PER_DISPATCH as u64,
                    advice: "use the step strategy",
                });
            }
        };
        let macs = multiply_adds(op, op.offsets.batch_size(op.steps.start)).max(1);
        let affordable = (recorder.options().submit_budget / macs).max(1) as usize;
        let steps_per_dispatch = match persistent {
            true => (ITERATIONS_PER_DISPATCH / iterations.max(1))
                .min(affordable)
                .max(1),
            false => STEPS_PER_GROUP,
        };
        log::debug!(
            "recurrence of layer {} (hidden {}, {} tiles of {TILE} sequences): {}",
            op.layer,
            op.hidden,
            tiles,
            match persistent {
                true => format!("persistent, {steps_per_dispatch} steps a dispatch"),
                false => "one dispatch for each phase of a step".to_owned(),
            }
        );
        Ok(Self {
            op,
            persistent,
            workgroup: if persistent {
                workgroup
            } else {
                STEP_WORKGROUP
            },
            steps_per_dispatch,
        })
    }

    /// The operation's steps in the groups that are dispatched together, first to last.
    pub(super) fn groups(&self) -> Vec<Range<usize>> {
        let steps = self.op.steps.clone();
        let each = self.steps_per_dispatch;
        steps
            .clone()
            .step_by(each)
            .map(|start| start..steps.end.min(start + each))
            .collect()
    }

    /// Whether a dispatch takes all steps of a group.
    pub(super) fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// Records one dispatch: all steps of `steps` (persistent), or one phase of step `step`.
    pub(super) fn dispatch(
        &self,
        recorder: &mut Recorder<'_>,
        (shader, bindings): (&Shader, &[Binding]),
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
        overrides.push(("WORKGROUP", self.workgroup as f64));
        overrides.push(("PERSISTENT", f64::from(u8::from(self.persistent))));
        overrides.push(("PHASE", f64::from(phase.number)));
        let tiles = packing.batch_size(step).div_ceil(TILE);
        let blocks = phase
            .units
            .map_or(1, |units| units.div_ceil(self.workgroup));
        let rows = match self.persistent {
            true => packing.offsets()[steps.end] - packing.offsets()[steps.start],
            false => packing.batch_size(step),
        };
        let params = Params {
            first_step: steps.start as u32,
            last_step: steps.end as u32,
            ..*params
        };
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
fn multiply_adds(op: &Recurrence, rows: usize) -> u64 {
    let first = op.state * op.hidden * op.layout.slots;
    let second = op.layout.second_inputs * op.layout.second_outputs;
    (op.directions * rows) as u64 * (first + second + op.hidden) as u64
}

/// Loop iterations of an invocation for one step of the persistent kernel, all phases, forward or backward, rounded up.
fn iterations_per_step(op: &Recurrence, workgroup: usize) -> usize {
    // A product over `terms` for one block of units: the terms, their staging (up to five iterations an element for each
    // thread), the chunks, and the arithmetic of the tile's sequences.
    let product = |terms: usize| terms + 6 * terms.div_ceil(workgroup) + terms.div_ceil(128) + 8;
    let draws = if op.mode == Mode::Training {
        2 * 10 * TILE
    } else {
        0
    };
    let blocks = |units: usize| units.div_ceil(workgroup);
    let widest = op.hidden.max(op.state);
    let mut iterations = blocks(widest) * (product(widest) + draws);
    if op.spec.has_second_product() {
        let clip = match op.spec.clip.projection {
            Some(_) => TILE * op.layout.second_inputs,
            None => 0,
        };
        iterations += blocks(widest) * (product(widest) + clip);
    }
    if op.spec.layer_norm.is_some() {
        // Up to eleven passes over a row's units, eight slot sums in some, and a reduction after each.
        let reductions = 11 * (workgroup.ilog2() as usize + 1);
        iterations += TILE * (blocks(op.hidden) * (11 + 3 * 4 + draws) + reductions);
    }
    iterations + iterations / 4 + 16
}

/// Checks that every buffer holds what the operation will touch.
pub(super) fn check(op: &Recurrence, recorder: &Recorder<'_>) -> Result<()> {
    let units = op.hidden * op.layout.slots;
    let rows = op.directions * (op.batch + op.tokens);
    let offsets = op.offsets.offsets();
    let window = offsets[op.steps.start].checked_sub(op.first_row);
    let end = offsets[op.steps.end] - op.first_row.min(offsets[op.steps.end]);
    if window.is_none() || end > op.gate_rows {
        return Err(Error::shape(
            "rows of the gate window",
            format!(
                "rows {}..{}",
                offsets[op.steps.start], offsets[op.steps.end]
            ),
            format!("{} rows from {} on", op.gate_rows, op.first_row),
        ));
    }
    if !op.gates.offset.is_multiple_of(op.layout.slots) {
        return Err(Error::shape(
            "offset of the gates",
            "a multiple of the slots",
            op.gates.offset,
        ));
    }
    recorder.check("gates", op.gates, op.directions * op.gate_rows * units)?;
    if let Some(sums) = op.recurrent_sums {
        recorder.check("recurrent sums", sums, op.directions * op.gate_rows * units)?;
    }
    recorder.check(
        "packed weights",
        op.weights.into(),
        op.directions * op.layout.len(),
    )?;
    recorder.check("hidden states", op.states.h, rows * op.state)?;
    recorder.check(
        "recurrent inputs",
        op.states.recurrent_input,
        rows * op.state,
    )?;
    for (what, region, len) in [
        ("mask", op.states.mask, op.directions * op.batch * op.state),
        ("cell states", op.states.c, rows * op.hidden),
        (
            "second inputs",
            op.states.second,
            op.directions * op.tokens * op.hidden,
        ),
    ] {
        if let Some(region) = region {
            recorder.check(what, region, len)?;
        }
    }
    recorder.check_table(
        "steps",
        op.offsets_table,
        op.offsets.steps() + 1,
        op.tokens + 1,
    )?;
    recorder.check_table("sequences", op.order_table, op.batch, op.batch.max(1))
}

/// A recurrence of every cell's kernel, for the list of shaders.
pub(super) fn samples() -> Result<Vec<Recurrence>> {
    use crate::config::RnnConfig;
    use crate::ops::{Operation, Program, Role, Section};
    let whole = LayerNormKind::WholeThenSum;
    let configs = [
        RnnConfig::elman(3, 5).build()?,
        RnnConfig::lstm(3, 5)
            .peephole(Peephole::New)
            .projection(2, true)
            .build()?,
        RnnConfig::lstm(3, 5).layer_norm(whole, 1e-5).build()?,
        RnnConfig::lstm(3, 5)
            .layer_norm(LayerNormKind::PerGate, 1e-5)
            .peephole(Peephole::Old)
            .projection(2, false)
            .build()?,
        RnnConfig::gru(3, 5).build()?,
        RnnConfig::gru(3, 5).reset(GruReset::Before).build()?,
        RnnConfig::gru(3, 5).layer_norm(whole, 1e-5).build()?,
    ];
    let packing = std::sync::Arc::new(crate::batch::Packing::dense(2, 1)?);
    let mut samples = Vec::new();
    for config in configs {
        let mut program = Program::new();
        let len = crate::params::ParameterLayout::new(&config)?.len();
        let parameters = program.buffer("parameters", len, Role::External);
        let options = crate::rnn::NetworkOptions::default();
        let network = crate::rnn::Network::new(
            &mut program,
            &config,
            &packing,
            &options,
            parameters.into(),
            None,
        )?;
        network.forward(&mut program)?;
        let recurrence = program
            .section(Section::Forward)
            .iter()
            .find_map(|op| match op {
                Operation::RecurrentForward(op) => Some(op.clone()),
                _ => None,
            });
        samples.extend(recurrence);
    }
    Ok(samples)
}

/// The variant's overrides with a workgroup size, for the list of shaders.
pub(super) fn sample_overrides(op: &Recurrence, persistent: bool) -> Vec<(&'static str, f64)> {
    let mut overrides = variant(op);
    overrides.push(("WORKGROUP", 64.0));
    overrides.push(("PERSISTENT", f64::from(u8::from(persistent))));
    overrides
}
