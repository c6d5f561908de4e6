//! The forward story: buffers, weights, and the operations of each layer.

use std::ops::Range;

use super::{GradientMode, Layer, Network, NetworkOptions, Sizes, max_rows, packing_jobs};
use crate::batch::Packing;
use crate::config::{Cell, Direction, Dropout, RnnConfig};
use crate::error::Result;
use crate::ops::{
    BufferId, BufferSpec, CopyJob, DropoutRows, Fill, GatherRows, LayerNormRows, LayerStep,
    MergeDirections, Mode, Precision, Program, RandomPurpose, RandomSite, Recurrence, Region, Role,
    Section, StackStep, StateRegions, StridedCopies,
};
use crate::packed::PackedLayout;

/// Adds the buffers of all layers. Without a backward section the layers share their states and gates.
pub(super) fn allocate(
    program: &mut Program,
    (config, options): (&RnnConfig, &NetworkOptions),
    sizes: &Sizes,
    (packing, [chunks, wave_chunks]): (&Packing, [&[Range<usize>]; 2]),
    x: BufferId,
) -> Result<Vec<Layer>> {
    let trains = options.gradients.is_some();
    let waves = !wave_chunks.is_empty();
    let rows = match options.gradients {
        Some(GradientMode::Save) => packing.tokens(),
        _ => max_rows(packing, if waves { wave_chunks } else { chunks }),
    };
    let layouts = (0..config.layer_count())
        .map(|index| PackedLayout::new(config, index))
        .collect::<Result<Vec<_>>>()?;
    let lengths = layouts
        .iter()
        .map(|layout| config.directions() * layout.len());
    let packed = allocate_packed(program, &lengths.collect::<Vec<_>>(), options.storage);
    let saves = options.gradients == Some(GradientMode::Save);
    let sharing = |own: bool| match own {
        _ if waves => Sharing::SideBySide,
        true => Sharing::Apart,
        false => Sharing::Same,
    };
    let gates = GateBuffers::new(config, options, rows);
    let (gates, sums) = gates.allocate(program, (sharing(saves), config.layer_count()));
    let states = kept_states(config, options, packing);
    let states = states.allocate(program, (sharing(trains), config.layer_count()), options);
    let running = allocate_running(program, (config, options), packing, sharing(false));
    let mut layers: Vec<Layer> = Vec::with_capacity(config.layer_count());
    for (index, layout) in layouts.into_iter().enumerate() {
        let previous = layers.last().map(|layer| layer.output);
        let (output_role, stored) = match index + 1 == config.layer_count() {
            true => (Role::Output, Precision::F32),
            false => (Role::Activation, options.storage),
        };
        let dropped_input = index == 0 && drops(options, config.dropout().input);
        let input = match (previous, dropped_input) {
            (Some(output), _) => output,
            (None, false) => x,
            (None, true) => {
                program.stored_buffer("dropped_input", sizes.x, Role::Activation, options.storage)
            }
        };
        layers.push(Layer {
            index,
            inputs: config.layer_input_size(index),
            layout,
            jobs: packing_jobs(config, index)?,
            packed: packed[index],
            gradients: None,
            input: input.into(),
            states: states[index],
            gates: gates[index],
            recurrent_sums: sums.as_ref().map(|sums| sums[index]),
            running: running.as_ref().map(|running| running[index]),
            output: program.stored_buffer(
                "output",
                packing.tokens() * config.output_size(),
                output_role,
                stored,
            ),
        });
    }
    Ok(layers)
}

/// Where the layers' parts of one kind lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sharing {
    /// All in the same place: one after the other works there.
    Same,
    /// In buffers of their own.
    Apart,
    /// In one buffer, so that one dispatch reaches all.
    SideBySide,
}

impl Sharing {
    /// A place for each of `layers`, of the buffer's length.
    pub(super) fn allocate(
        self,
        program: &mut Program,
        layers: usize,
        buffer: BufferSpec,
    ) -> Vec<Region> {
        let mut allocate = |len| {
            let BufferSpec {
                label,
                role,
                precision,
                ..
            } = buffer.clone();
            Region::from(program.stored_buffer(label, len, role, precision))
        };
        match self {
            Self::Same => vec![allocate(buffer.len); layers],
            Self::Apart => (0..layers).map(|_| allocate(buffer.len)).collect(),
            Self::SideBySide => {
                let stride = buffer.len.next_multiple_of(ALIGNMENT);
                let all = allocate(layers * stride);
                (0..layers).map(|layer| all.at(layer * stride)).collect()
            }
        }
    }
}

/// Bytes that a storage binding may have on every adapter.
pub(super) const MOST_BOUND_BYTES: u64 = 128 << 20;

/// Elements that the part of a layer in a shared buffer is aligned to: whole cache lines in any precision.
pub(super) const ALIGNMENT: usize = 64;

/// A place for the packed weights of each layer, of so many elements: neighbours share a buffer, so that one dispatch reaches
/// the weights of several, as far as every adapter can bind it.
fn allocate_packed(program: &mut Program, lengths: &[usize], storage: Precision) -> Vec<Region> {
    let (mut places, mut rest) = (Vec::with_capacity(lengths.len()), lengths);
    while let Some((&first, others)) = rest.split_first() {
        let (mut offsets, mut len) = (vec![0], first);
        for other in others {
            let offset = len.next_multiple_of(ALIGNMENT);
            if storage.bytes(offset + other) > MOST_BOUND_BYTES {
                break;
            }
            offsets.push(offset);
            len = offset + other;
        }
        rest = &rest[offsets.len()..];
        let buffer = program.stored_buffer("packed", len, Role::Packed, storage);
        places.extend(offsets.into_iter().map(|offset| Region { buffer, offset }));
    }
    places
}

/// Sizes of the gate buffers.
struct GateBuffers {
    len: usize,
    whole_norm: bool,
    role: Role,
    precision: Precision,
}

impl GateBuffers {
    fn new(config: &RnnConfig, options: &NetworkOptions, rows: usize) -> Self {
        Self {
            len: config.directions() * rows * config.hidden_size() * config.spec().slots(),
            whole_norm: config.spec().is_whole_norm(),
            role: match options.gradients {
                Some(GradientMode::Save) => Role::Activation,
                _ => Role::Workspace,
            },
            precision: options.storage,
        }
    }

    /// Of each layer the gates, and where there are such, the recurrent sums.
    fn allocate(
        &self,
        program: &mut Program,
        (sharing, layers): (Sharing, usize),
    ) -> (Vec<Region>, Option<Vec<Region>>) {
        let mut buffers = |label: &'static str| {
            let spec = BufferSpec {
                label: label.into(),
                len: self.len,
                role: self.role,
                precision: self.precision,
            };
            sharing.allocate(program, layers, spec)
        };
        (
            buffers("gates"),
            self.whole_norm.then(|| buffers("recurrent_sums")),
        )
    }
}

/// Where the parts of a layer's states lie in their place.
#[derive(Debug)]
struct StateOffsets {
    h: usize,
    recurrent_input: usize,
    mask: Option<usize>,
    c: Option<usize>,
    second: Option<usize>,
    len: usize,
}

impl StateOffsets {
    fn at(&self, region: Region) -> StateRegions {
        let at = |offset: Option<usize>| offset.map(|offset| region.at(offset));
        StateRegions {
            h: region.at(self.h),
            recurrent_input: region.at(self.recurrent_input),
            mask: at(self.mask),
            c: at(self.c),
            second: at(self.second),
        }
    }

    /// All state rows of each layer.
    fn allocate(
        &self,
        program: &mut Program,
        (sharing, layers): (Sharing, usize),
        options: &NetworkOptions,
    ) -> Vec<StateRegions> {
        let spec = BufferSpec {
            label: "states".into(),
            len: self.len,
            role: match options.gradients {
                Some(_) => Role::Activation,
                None => Role::Workspace,
            },
            precision: options.storage,
        };
        let regions = sharing.allocate(program, layers, spec).into_iter();
        regions.map(|region| self.at(region)).collect()
    }
}

/// Of the states of all steps.
fn kept_states(config: &RnnConfig, options: &NetworkOptions, packing: &Packing) -> StateOffsets {
    let spec = config.spec();
    let (directions, batch) = (config.directions(), packing.batch());
    let rows = directions * (batch + packing.tokens());
    let (state, hidden) = (config.state_size(), config.hidden_size());
    let mut len = 0;
    let mut part = |elements: usize| {
        let offset = len;
        len += elements;
        offset
    };
    let h = part(rows * state);
    let masked = drops(options, config.dropout().recurrent);
    let input = masked.then(|| part(rows * state));
    let mask = (masked && !runs_apart(options)).then(|| part(directions * batch * state));
    let c = (spec.cell == Cell::Lstm).then(|| part(rows * hidden));
    let second = spec
        .has_second_product()
        .then(|| part(directions * packing.tokens() * hidden));
    StateOffsets {
        h,
        recurrent_input: input.unwrap_or(h),
        mask,
        c,
        second,
        len,
    }
}

/// The running states of each layer, where what is kept of them is in half precision.
fn allocate_running(
    program: &mut Program,
    (config, options): (&RnnConfig, &NetworkOptions),
    packing: &Packing,
    sharing: Sharing,
) -> Option<Vec<StateRegions>> {
    if !runs_apart(options) {
        return None;
    }
    let sequences = config.directions() * packing.batch();
    let (state, hidden) = (
        sequences * config.state_size(),
        sequences * config.hidden_size(),
    );
    let masked = drops(options, config.dropout().recurrent);
    let is_lstm = config.spec().cell == Cell::Lstm;
    // h, c, what enters the recurrent product, mask.
    let c = 2 * state;
    let input = c + if is_lstm { 2 * hidden } else { 0 };
    let mask = input + if masked { 2 * state } else { 0 };
    let len = mask + if masked { state } else { 0 };
    let offsets = StateOffsets {
        h: 0,
        recurrent_input: if masked { input } else { 0 },
        mask: masked.then_some(mask),
        c: is_lstm.then_some(c),
        second: None,
        len,
    };
    let spec = BufferSpec {
        label: "running_states".into(),
        len,
        role: Role::Workspace,
        precision: Precision::F32,
    };
    let regions = sharing.allocate(program, config.layer_count(), spec);
    Some(
        regions
            .into_iter()
            .map(|region| offsets.at(region))
            .collect(),
    )
}

/// Whether the recurrence has running states apart from those that it keeps.
fn runs_apart(options: &NetworkOptions) -> bool {
    options.storage != Precision::F32
}

/// Whether dropout of this probability is on.
fn drops(options: &NetworkOptions, probability: f32) -> bool {
    options.mode == Mode::Training && probability > 0.0
}

impl Network {
    /// Pushes the operations of the prepare and the forward section.
    ///
    /// # Errors
    /// None at present; sizes were checked when the network was made.
    pub fn forward(&self, program: &mut Program) -> Result<()> {
        self.push_packing(program);
        if !self.wave_chunks.is_empty() {
            self.push_waves(program);
            return Ok(());
        }
        let mut stack = StackStep::default();
        for layer in &self.layers {
            if let Some(step) = self.layer_step(layer) {
                stack.layers.push(step);
                continue;
            }
            program.push(Section::Forward, std::mem::take(&mut stack));
            self.push_input_dropout(program, layer, &self.all_rows());
            self.push_first_states(program, layer);
            for steps in &self.chunks {
                for direction in 0..self.config.directions() {
                    self.push_input_projection(
                        program,
                        Section::Forward,
                        (layer, direction),
                        &self.rows(steps),
                    );
                }
                program.push(Section::Forward, self.recurrence(layer, steps));
            }
            program.push(Section::Forward, self.merge(layer, &self.all_rows()));
            for direction in 0..self.config.directions() {
                self.push_final_state(program, layer, direction);
            }
        }
        program.push(Section::Forward, stack);
        Ok(())
    }

    /// The states that a layer starts from.
    pub(super) fn push_first_states(&self, program: &mut Program, layer: &Layer) {
        for direction in 0..self.config.directions() {
            self.push_initial_state(program, layer, direction);
        }
        self.push_kept_initial_states(program, layer);
    }

    /// The layer as part of one operation, for a batch of single steps of a stream.
    fn layer_step(&self, layer: &Layer) -> Option<LayerStep> {
        let config = &self.config;
        let plain = self.options.gradients.is_none()
            && self.packing.steps() == 1
            && self.packing.tokens() == self.packing.batch()
            && config.direction() == Direction::Forward
            && !config.is_residual(layer.index)
            && !config.spec().is_whole_norm()
            && !drops(&self.options, config.dropout().recurrent)
            && !drops(&self.options, config.dropout().input)
            && !drops(&self.options, config.dropout().between);
        if !plain {
            return None;
        }
        let edge = |initial: Option<BufferId>, last: BufferId, states: Region, cell: bool| {
            let source = self.state_region(initial?, layer.index, 0, cell);
            let first = self.reorder((source, states), self.tables.order, self.state_width(cell));
            Some((first, self.final_rows(layer, 0, (last, states, cell))))
        };
        let running = layer.running.unwrap_or(layer.states);
        let (first_h, last_h) = edge(self.h0, self.h_n, running.h, false)?;
        let cells = match (self.c_n, running.c) {
            (Some(c_n), Some(c)) => Some(edge(self.c0, c_n, c, true)?),
            _ => None,
        };
        let steps = 0..1;
        let gates = self.gate_place(layer.gates, 0, &self.rows(&steps));
        let bias = !config.spec().is_per_gate_norm();
        Some(LayerStep {
            first_h,
            first_c: cells.map(|(first, _)| first),
            projection: self.projection((layer, 0), &self.rows(&steps), (gates, bias)),
            recurrence: self.recurrence(layer, &steps),
            output: self.merge(layer, &self.all_rows()),
            last_h,
            last_c: cells.map(|(_, last)| last),
        })
    }

    /// The weights of all layers into their packed places, a buffer at a time.
    fn push_packing(&self, program: &mut Program) {
        let share = |a: &Layer, b: &Layer| a.packed.buffer == b.packed.buffer;
        for layers in self.layers.chunk_by(share) {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for layer in layers {
                let moved = |job: &CopyJob| CopyJob {
                    source: job.source + self.parameters.offset,
                    target: job.target + layer.packed.offset,
                    ..*job
                };
                let jobs = &layer.jobs;
                first.extend(jobs.first.iter().chain(&jobs.transposed).map(moved));
                second.extend(jobs.second.iter().map(moved));
            }
            for (jobs, accumulate) in [(first, false), (second, true)] {
                let copies = StridedCopies {
                    source: self.parameters.buffer,
                    target: layers[0].packed.buffer,
                    jobs,
                    accumulate,
                };
                program.push(Section::Prepare, copies);
            }
        }
    }

    /// Dropout between layers, then variational dropout, on `rows` of what enters `layer`.
    pub(super) fn push_input_dropout(
        &self,
        program: &mut Program,
        layer: &Layer,
        rows: &Range<usize>,
    ) {
        let source = match layer.index {
            0 => Region::from(self.x),
            _ => layer.input,
        };
        self.push_dropout(
            program,
            Section::Forward,
            (layer, rows),
            (source, layer.input),
        );
    }

    /// The dropout masks of `rows` of `layer`'s input, from `source` to `target` (which may be the same region).
    pub(super) fn push_dropout(
        &self,
        program: &mut Program,
        section: Section,
        (layer, rows): (&Layer, &Range<usize>),
        (source, target): (Region, Region),
    ) {
        let Some([sequences, steps]) = self.tables.sites else {
            return;
        };
        let Dropout { between, input, .. } = self.config.dropout();
        let between = if layer.index == 0 { 0.0 } else { between };
        let [mut source, target] = [source, target].map(|x| x.at(rows.start * layer.inputs));
        for (probability, purpose, steps) in [
            (between, RandomPurpose::Between, Some(steps.at(rows.start))),
            (input, RandomPurpose::Input, None),
        ] {
            if probability > 0.0 {
                let dropout = DropoutRows {
                    source: Some(source),
                    target,
                    rows: rows.len(),
                    width: layer.inputs,
                    sequences: sequences.at(rows.start),
                    steps,
                    probability,
                    site: RandomSite {
                        layer: self.site(layer),
                        direction: 0,
                        purpose,
                    },
                };
                program.push(section, dropout);
                source = target;
            }
        }
    }

    /// The number of a layer for what it draws.
    fn site(&self, layer: &Layer) -> u32 {
        (self.options.first_site + layer.index) as u32
    }

    /// Rows of a direction in the states that the recurrence reads.
    fn running_rows(&self) -> usize {
        match runs_apart(&self.options) {
            true => 2 * self.packing.batch(),
            false => self.kept_rows(),
        }
    }

    /// Rows of a direction in the kept states.
    pub(super) fn kept_rows(&self) -> usize {
        self.packing.batch() + self.packing.tokens()
    }

    /// Initial states into the first rows of the states that the recurrence reads.
    fn push_initial_state(&self, program: &mut Program, layer: &Layer, direction: usize) {
        let (state, hidden) = (self.config.state_size(), self.config.hidden_size());
        let (batch, rows) = (self.packing.batch(), self.running_rows());
        let regions = layer.running.unwrap_or(layer.states);
        let h = regions.h.at(direction * rows * state);
        self.push_initial_rows(program, (self.h0, h), (layer, direction), false);
        if let Some(mask) = regions.mask {
            let input = regions.recurrent_input.at(direction * rows * state);
            self.push_initial_rows(program, (self.h0, input), (layer, direction), false);
            let mask = mask.at(direction * batch * state);
            for edges in [(None, mask), (Some(input), input)] {
                let dropout = self.recurrent_dropout((layer, direction), edges);
                program.push(Section::Forward, dropout);
            }
        }
        if let Some(c) = regions.c {
            let c = c.at(direction * rows * hidden);
            self.push_initial_rows(program, (self.c0, c), (layer, direction), true);
        }
    }

    /// Recurrent dropout of a row of states for each sequence; without a source the mask itself.
    pub(super) fn recurrent_dropout(
        &self,
        (layer, direction): (&Layer, usize),
        (source, target): (Option<Region>, Region),
    ) -> DropoutRows {
        DropoutRows {
            source,
            target,
            rows: self.packing.batch(),
            width: self.config.state_size(),
            sequences: self.tables.order,
            steps: None,
            probability: self.config.dropout().recurrent,
            site: RandomSite {
                layer: self.site(layer),
                direction: direction as u32,
                purpose: RandomPurpose::Recurrent,
            },
        }
    }

    /// Where states run apart from what is kept of them: the initial ones as a backward will look for them.
    fn push_kept_initial_states(&self, program: &mut Program, layer: &Layer) {
        let (Some(running), Some(_)) = (layer.running, self.options.gradients) else {
            return;
        };
        let kept = &layer.states;
        let mut jobs = Vec::new();
        for (source, target, cell) in [
            (Some(running.h), Some(kept.h), false),
            (
                running.mask.map(|_| running.recurrent_input),
                Some(kept.recurrent_input),
                false,
            ),
            (running.c, kept.c, true),
        ] {
            let (Some(source), Some(target)) = (source, target) else {
                continue;
            };
            let width = self.state_width(cell);
            jobs.extend((0..self.config.directions()).map(|direction| CopyJob {
                source: source.offset + direction * self.running_rows() * width,
                target: target.offset + direction * self.kept_rows() * width,
                size: [self.packing.batch(), width],
                source_strides: [width, 1],
                target_strides: [width, 1],
            }));
        }
        let copies = StridedCopies {
            source: running.h.buffer,
            target: kept.h.buffer,
            jobs,
            accumulate: false,
        };
        program.push(Section::Forward, copies);
    }

    fn push_initial_rows(
        &self,
        program: &mut Program,
        (initial, target): (Option<BufferId>, Region),
        (layer, direction): (&Layer, usize),
        cell: bool,
    ) {
        let width = self.state_width(cell);
        match initial {
            Some(buffer) => {
                let source = self.state_region(buffer, layer.index, direction, cell);
                let rows = self.reorder((source, target), self.tables.order, width);
                program.push(Section::Forward, rows);
            }
            None => {
                let len = self.packing.batch() * width;
                program.push(
                    Section::Forward,
                    Fill {
                        target,
                        len,
                        value: 0.0,
                    },
                );
            }
        }
    }

    /// The projections of `rows` into the gates, normalised where the cell asks for it.
    pub(super) fn push_input_projection(
        &self,
        program: &mut Program,
        section: Section,
        (layer, direction): (&Layer, usize),
        rows: &Range<usize>,
    ) {
        let spec = self.config.spec();
        let gates = self.gate_place(layer.gates, direction, rows);
        let bias = !spec.is_whole_norm() && !spec.is_per_gate_norm();
        program.push(
            section,
            self.projection((layer, direction), rows, (gates, bias)),
        );
        if let (true, Some(deviation)) = (spec.is_whole_norm(), self.deviation) {
            let weights = layer.packed.at(direction * layer.layout.len());
            let norm = LayerNormRows {
                scale: Some(weights.at(layer.layout.norm_input)),
                bias: Some(weights.at(layer.layout.input_bias)),
                ..self.input_norm(gates, deviation, rows.len())
            };
            program.push(section, norm);
        }
    }

    /// The normalisation of input products without scale and bias.
    pub(super) fn input_norm(
        &self,
        values: Region,
        deviation: BufferId,
        rows: usize,
    ) -> LayerNormRows {
        let spec = self.config.spec();
        LayerNormRows {
            values,
            deviation: deviation.into(),
            scale: None,
            bias: None,
            rows,
            hidden: self.config.hidden_size(),
            slots: spec.slots(),
            slot_mask: input_slot_mask(spec.cell),
            epsilon: spec.layer_norm.map_or(0.0, |norm| norm.epsilon as f32),
        }
    }

    /// The recurrence of a layer over `steps`.
    pub(super) fn recurrence(&self, layer: &Layer, steps: &Range<usize>) -> Recurrence {
        let rows = self.rows(steps);
        let (gate_rows, first_row) = match self.saves_gates() {
            true => (self.packing.tokens(), 0),
            false => (rows.len(), rows.start),
        };
        Recurrence {
            spec: *self.config.spec(),
            layer: self.options.first_site + layer.index,
            hidden: self.config.hidden_size(),
            state: self.config.state_size(),
            directions: self.config.directions(),
            batch: self.packing.batch(),
            tokens: self.packing.tokens(),
            offsets_table: self.tables.offsets,
            order_table: self.tables.order,
            offsets: self.packing.clone(),
            steps: steps.clone(),
            gates: layer.gates,
            gate_rows,
            first_row,
            recurrent_sums: layer.recurrent_sums,
            states: layer.states,
            running: layer.running,
            weights: layer.packed,
            layout: layer.layout,
            mode: self.options.mode,
            keeps_gates: self.options.gradients == Some(GradientMode::Save),
        }
    }

    /// All rows of the batch.
    pub(super) fn all_rows(&self) -> Range<usize> {
        0..self.packing.tokens()
    }

    /// The directions merged into `rows` of the layer's output; where one runs backwards, all rows.
    pub(super) fn merge(&self, layer: &Layer, rows: &Range<usize>) -> MergeDirections {
        let (states, reverse) = self.direction_rows(layer.states.h);
        let width = self.config.state_size();
        let states = states.map(|states| Some(states?.at(rows.start * width)));
        let at = |region: Region| region.at(rows.start * self.config.output_size());
        MergeDirections {
            states,
            reverse,
            table: self.tables.reverse.unwrap_or(self.tables.offsets),
            output: at(layer.output.into()),
            residual: (self.config.is_residual(layer.index)).then(|| at(layer.input)),
            tokens: rows.len(),
            width,
            sum: self.config.direction() == Direction::BidirectionalSum,
        }
    }

    /// For each direction the first row after the initial states of `[directions, batch + tokens, state]`.
    fn direction_rows(&self, h: Region) -> ([Option<Region>; 2], [bool; 2]) {
        let (batch, state) = (self.packing.batch(), self.config.state_size());
        let rows = |direction: usize| {
            (direction < self.config.directions())
                .then(|| h.at((direction * self.kept_rows() + batch) * state))
        };
        let direction = self.config.direction();
        (
            [rows(0), rows(1)],
            [direction.is_reverse(0), direction.is_reverse(1)],
        )
    }

    pub(super) fn push_final_state(&self, program: &mut Program, layer: &Layer, direction: usize) {
        let states = layer.running.unwrap_or(layer.states);
        let cells = self.c_n.zip(states.c).map(|(c_n, c)| (c_n, c, true));
        for (buffer, states, cell) in [Some((self.h_n, states.h, false)), cells]
            .into_iter()
            .flatten()
        {
            let gather = self.final_rows(layer, direction, (buffer, states, cell));
            program.push(Section::Forward, gather);
        }
    }

    /// The last state of each sequence, in the caller's order.
    fn final_rows(
        &self,
        layer: &Layer,
        direction: usize,
        (buffer, states, cell): (BufferId, Region, bool),
    ) -> GatherRows {
        let width = self.state_width(cell);
        GatherRows {
            source: states.at(direction * self.running_rows() * width),
            source_stride: width,
            target: self.state_region(buffer, layer.index, direction, cell),
            target_stride: width,
            table: self.tables.final_rows,
            rows: self.packing.batch(),
            width,
        }
    }
}

/// Slots of the input products that are normalised together.
fn input_slot_mask(cell: Cell) -> u32 {
    match cell {
        Cell::Elman => 0b1,
        Cell::Lstm => 0b1111,
        Cell::Gru => 0b0111,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers share a buffer, aligned, as far as every adapter can bind it; one that is too long alone has its own.
    #[test]
    fn packed_weights_share_buffers_that_can_be_bound() {
        let most = (MOST_BOUND_BYTES / 4) as usize;
        let places = |lengths: &[usize], storage| {
            let mut program = Program::new();
            let places = allocate_packed(&mut program, lengths, storage);
            let places: Vec<_> = { places.iter() }
                .map(|place| (place.buffer.0, place.offset))
                .collect();
            let lengths: Vec<_> = program.buffers().iter().map(|spec| spec.len).collect();
            (places, lengths)
        };
        let (single, half) = (Precision::F32, Precision::F16);
        assert_eq!(
            places(&[100, 64, 4], single),
            (vec![(0, 0), (0, 128), (0, 192)], vec![196])
        );
        assert_eq!(
            places(&[most - 64, 64], single),
            (vec![(0, 0), (0, most - 64)], vec![most])
        );
        assert_eq!(
            places(&[4, most - 60, most + 4, 8, 8], single),
            (
                vec![(0, 0), (1, 0), (2, 0), (3, 0), (3, 64)],
                vec![4, most - 60, most + 4, 72]
            )
        );
        assert_eq!(
            places(&[most, most], half),
            (vec![(0, 0), (0, most)], vec![2 * most])
        );
    }
}
