//! The backward story: from the gradients of outputs and final states to all others.

use std::ops::Range;

use super::gradients::{CarryOffsets, LayerGradients};
use super::{GradientBuffers, GradientMode, Layer, Network};
use crate::config::Cell;
use crate::error::{Error, Result};
use crate::ops::{
    ColumnSums, CopyJob, Elementwise, ElementwiseKind, Fill, Gemm, LayerNormRowsBackward, Matrix,
    MergeDirections, Program, RecurrentBackward, Region, RowMap, Section, SplitDirections,
    StridedCopies,
};

/// The slot of the GRU's candidate.
const CANDIDATE_SLOT: usize = 2;

/// A layer on its way back.
pub(super) struct Pass<'a> {
    network: &'a Network,
    pub(super) layer: &'a Layer,
    buffers: GradientBuffers,
    own: LayerGradients,
    carry: CarryOffsets,
    /// Gradient of the layer's output.
    output: Region,
    /// Gradient of the layer's input, if wanted.
    input: Option<Region>,
}

impl Network {
    /// Pushes the operations of the backward section.
    ///
    /// # Errors
    /// [`Error::State`] if the network was made without one.
    pub fn backward(&self, program: &mut Program) -> Result<()> {
        let passes = self.passes()?;
        match self.wave_chunks.is_empty() {
            true => passes.iter().for_each(|pass| pass.push(program)),
            false => self.push_backward_waves(program, &passes),
        }
        Ok(())
    }

    /// The layers on their way back, last to first.
    fn passes(&self) -> Result<Vec<Pass<'_>>> {
        let no_section = Error::State("this network was made without a backward section");
        let buffers = self.gradients.ok_or(no_section.clone())?;
        let mut output = Region::from(buffers.y);
        let mut passes = Vec::with_capacity(self.layers.len());
        for layer in self.layers.iter().rev() {
            let input = match layer.index {
                0 => buffers.x.map(Region::from),
                index => Some(buffers.between[index % 2].into()),
            };
            passes.push(Pass {
                network: self,
                layer,
                buffers,
                own: layer.gradients.ok_or(no_section.clone())?,
                carry: CarryOffsets::new(self, layer.layout.vectors_len()),
                output,
                input,
            });
            output = input.unwrap_or(output);
        }
        Ok(passes)
    }
}

impl Pass<'_> {
    /// The whole layer, chunk by chunk.
    fn push(&self, program: &mut Program) {
        let network = self.network;
        let all = network.all_rows();
        self.push_start(program);
        self.push_edges(program, &all);
        for (visited, steps) in network.chunks.iter().rev().enumerate() {
            self.push_before_sweep(program, (steps, visited));
            program.push(Section::Backward, self.sweep(steps));
            self.push_products(program, &network.rows(steps), visited > 0);
        }
        self.push_end(program);
        self.push_input_dropout(program, &all);
    }

    /// What the sweep over `steps` needs, after so many chunks.
    pub(super) fn push_before_sweep(
        &self,
        program: &mut Program,
        (steps, visited): (&Range<usize>, usize),
    ) {
        let truncation = self.network.options.truncation;
        if truncation.is_some_and(|each| visited > 0 && steps.end.is_multiple_of(each)) {
            self.push_cut(program, steps.end);
        }
        if self.network.options.gradients == Some(GradientMode::Recompute) {
            self.push_rebuilt_gates(program, &self.network.rows(steps));
        }
    }

    /// Forgets the gradients that `step` passes to the states before it. Sequences that have ended by then have passed none yet:
    /// there the carry holds their final states' own.
    fn push_cut(&self, program: &mut Program, step: usize) {
        let network = self.network;
        let running = network.packing.batch_size(step);
        for direction in 0..network.config.directions() {
            for (_, inside, cell) in self.state_gradients(direction, false) {
                let zero = Fill {
                    target: inside,
                    len: running * network.state_width(cell),
                    value: 0.0,
                };
                program.push(Section::Backward, zero);
            }
        }
    }

    /// The gradients of the output's `rows` to where the sweep wants them, and what is there before it of the input's.
    pub(super) fn push_edges(&self, program: &mut Program, rows: &Range<usize>) {
        let network = self.network;
        let MergeDirections {
            states,
            reverse,
            table,
            width,
            sum,
            ..
        } = network.merge(self.layer, rows);
        let states =
            |direction: usize| states[direction].map(|_| self.rows_gradient(direction, rows));
        let targets = [states(0), states(1)];
        if self.has_output_gradient() {
            let split = SplitDirections {
                states: targets,
                reverse,
                table,
                output: (self.output).at(rows.start * network.config.output_size()),
                tokens: rows.len(),
                width,
                sum,
            };
            program.push(Section::Backward, split);
        } else {
            // The loss depends on final states alone.
            for target in targets.into_iter().flatten() {
                let zero = Fill {
                    target,
                    len: rows.len() * width,
                    value: 0.0,
                };
                program.push(Section::Backward, zero);
            }
        }
        self.push_input_gradient_start(program, rows);
    }

    /// Whether the layer's output has a gradient: that of the last layer may have none.
    fn has_output_gradient(&self) -> bool {
        let network = self.network;
        let is_last = self.layer.index + 1 == network.layers.len();
        !is_last || network.options.output_gradient
    }

    /// The gradients of the final states, and zeros for what the sweep adds to.
    pub(super) fn push_start(&self, program: &mut Program) {
        let network = self.network;
        for direction in 0..network.config.directions() {
            for (outside, inside, cell) in self.state_gradients(direction, false) {
                let table = network.tables.order;
                let width = self.network.state_width(cell);
                let rows = network.reorder((outside, inside), table, width);
                program.push(Section::Backward, rows);
            }
        }
        if self
            .layer
            .running
            .is_some_and(|running| running.mask.is_some())
        {
            let sequences = network.packing.batch() * network.config.state_size();
            for direction in 0..network.config.directions() {
                let mask = self.carry_region(self.carry.mask + direction * sequences);
                let dropout = network.recurrent_dropout((self.layer, direction), (None, mask));
                program.push(Section::Backward, dropout);
            }
        }
        let zero = Fill {
            target: self.carry_region(self.carry.vectors),
            len: self.carry.len - self.carry.vectors,
            value: 0.0,
        };
        program.push(Section::Backward, zero);
        if network.packing.tokens() == 0 && network.options.parameter_gradients {
            // No sweep and no product will run: the packed gradients must not keep what an earlier plan left.
            let zero = Fill {
                target: self.own.packed.into(),
                len: network.config.directions() * self.layer.layout.gradient_len(),
                value: 0.0,
            };
            program.push(Section::Backward, zero);
        }
    }

    /// What the input's gradient is before the products add to it: the output's in a residual layer.
    fn push_input_gradient_start(&self, program: &mut Program, rows: &Range<usize>) {
        let network = self.network;
        // A residual layer's output is as wide.
        let at = |region: Region| region.at(rows.start * self.layer.inputs);
        let Some(target) = self.input.map(at) else {
            return;
        };
        let len = rows.len() * self.layer.inputs;
        let is_residual = network.config.is_residual(self.layer.index);
        if is_residual && self.has_output_gradient() {
            let copy = Elementwise {
                kind: ElementwiseKind::Copy,
                a: at(self.output),
                b: None,
                target,
                len,
            };
            program.push(Section::Backward, copy);
        } else if is_residual || self.scatters_before_gather() {
            let zero = Fill {
                target,
                len,
                value: 0.0,
            };
            program.push(Section::Backward, zero);
        }
    }

    /// With two directions and several chunks, the reverse direction of one chunk adds to rows that the forward direction of
    /// another has not come to: neither may replace what is there.
    fn scatters_before_gather(&self) -> bool {
        self.network.config.directions() > 1 && self.network.chunks.len() > 1
    }

    /// The gates (or, with whole-row normalisation, the projections and the raw recurrent products) as the forward had them.
    fn push_rebuilt_gates(&self, program: &mut Program, rows: &Range<usize>) {
        let (network, layer) = (self.network, self.layer);
        let (units, slots) = (network.units(), layer.layout.slots);
        for direction in 0..network.config.directions() {
            network.push_input_projection(program, Section::Backward, (layer, direction), rows);
            let weights = layer.packed.at(direction * layer.layout.len());
            let gates = network.gate_place(layer.gates, direction, rows);
            let sums = layer
                .recurrent_sums
                .map(|sums| network.gate_place(sums, direction, rows));
            let (previous, map) = self.previous_states(direction, rows);
            let recurrent = Gemm {
                a: Matrix::rows(previous, network.config.state_size()),
                b: Matrix::rows(weights.at(layer.layout.recurrent), units),
                c: Matrix::rows(sums.unwrap_or(gates), units),
                m: rows.len(),
                n: units,
                k: network.config.state_size(),
                map: map.map(RowMap::GatherM),
                bias: None,
                accumulate: sums.is_none(),
            };
            program.push(Section::Backward, recurrent);
            if let (Cell::Gru, Some(second)) =
                (network.config.spec().cell, self.second(direction, rows))
            {
                let hidden = network.config.hidden_size();
                let candidate = Gemm {
                    a: Matrix::rows(second, hidden),
                    b: Matrix::rows(weights.at(layer.layout.second), hidden),
                    c: Matrix {
                        region: gates.at(CANDIDATE_SLOT),
                        strides: [units, slots],
                    },
                    m: rows.len(),
                    n: hidden,
                    k: hidden,
                    map: None,
                    bias: None,
                    accumulate: true,
                };
                program.push(Section::Backward, candidate);
            }
        }
    }

    pub(super) fn sweep(&self, steps: &Range<usize>) -> RecurrentBackward {
        let spec = self.network.config.spec();
        let is_lstm = spec.cell == Cell::Lstm;
        RecurrentBackward {
            forward: self.network.recurrence(self.layer, steps),
            rebuilt: self.network.options.gradients == Some(GradientMode::Recompute),
            output_gradient: self.own.rows,
            h_gradient: self.carry_region(0),
            c_gradient: is_lstm.then(|| self.carry_region(self.carry.c)),
            scratch: Some(self.carry_region(self.carry.scratch)),
            mask: (self.layer.running)
                .and_then(|running| running.mask)
                .map(|_| self.carry_region(self.carry.mask)),
            vector_sums: (self.layer.layout.vectors_len() > 0)
                .then(|| self.carry_region(self.carry.vectors)),
        }
    }

    /// Gradients of weights and input over all rows of a chunk, from the gradients that the sweep left.
    pub(super) fn push_products(
        &self,
        program: &mut Program,
        rows: &Range<usize>,
        accumulate: bool,
    ) {
        for direction in 0..self.network.config.directions() {
            let gates = self.push_weight_gradients(program, direction, rows, accumulate);
            self.push_input_gradient(program, direction, rows, gates);
        }
    }

    /// Whether the gradients of the weights may wait until all rows' gates have theirs: these are kept, and nothing but them is
    /// needed.
    pub(super) fn can_wait(&self) -> bool {
        self.network.saves_gates() && !self.network.config.spec().is_whole_norm()
    }

    /// Gradients of a direction's weights over `rows`; where those of the input's products are.
    pub(super) fn push_weight_gradients(
        &self,
        program: &mut Program,
        direction: usize,
        rows: &Range<usize>,
        accumulate: bool,
    ) -> Region {
        let (network, layer) = (self.network, self.layer);
        let gates = network.gate_place(layer.gates, direction, rows);
        let units = network.units();
        if !network.options.parameter_gradients {
            let raw = self.push_norm_backward(program, direction, rows, accumulate);
            return raw.unwrap_or(gates);
        }
        if !network.config.spec().is_per_gate_norm() {
            let bias = self.column_sums(
                (gates, None),
                self.packed(direction, layer.layout.input_bias),
            );
            program.push(
                Section::Backward,
                ColumnSums {
                    rows: rows.len(),
                    accumulate,
                    ..bias
                },
            );
        }
        let raw = self.push_norm_backward(program, direction, rows, accumulate);
        let input_side = raw.unwrap_or(gates);
        let recurrent_side = layer
            .recurrent_sums
            .map_or(gates, |sums| network.gate_place(sums, direction, rows));

        let reverse = network
            .reverse_table(direction)
            .map(|table| table.at(rows.start));
        let input = match reverse {
            Some(_) => layer.input,
            None => layer.input.at(rows.start * layer.inputs),
        };
        let weight_input = Gemm {
            a: Matrix::rows(input, layer.inputs).transposed(),
            b: Matrix::rows(input_side, units),
            c: Matrix::rows(self.packed(direction, layer.layout.input), units),
            m: layer.inputs,
            n: units,
            k: rows.len(),
            map: reverse.map(RowMap::GatherK),
            bias: None,
            accumulate,
        };
        program.push(Section::Backward, weight_input);

        let (previous, map) = self.previous_states(direction, rows);
        let state = network.config.state_size();
        let weight_recurrent = Gemm {
            a: Matrix::rows(previous, state).transposed(),
            b: Matrix::rows(recurrent_side, units),
            c: Matrix::rows(self.packed(direction, layer.layout.recurrent), units),
            m: state,
            map: map.map(RowMap::GatherK),
            ..weight_input
        };
        program.push(Section::Backward, weight_recurrent);
        self.push_second_product(program, direction, rows, (gates, accumulate));
        input_side
    }

    /// With whole-row normalisation: the raw input products again, their scales' gradient, and their own gradient.
    fn push_norm_backward(
        &self,
        program: &mut Program,
        direction: usize,
        rows: &Range<usize>,
        accumulate: bool,
    ) -> Option<Region> {
        let (network, layer) = (self.network, self.layer);
        let (normalised, deviation) = network.normalised.zip(network.deviation)?;
        let normalised = Region::from(normalised);
        let gradient = network.gate_place(layer.gates, direction, rows);
        let section = Section::Backward;
        let projection = network.projection((layer, direction), rows, (normalised, false));
        program.push(section, projection);
        let norm = network.input_norm(normalised, deviation, rows.len());
        program.push(section, norm);
        if network.options.parameter_gradients {
            let scale = self.column_sums(
                (gradient, Some(normalised)),
                self.packed(direction, layer.layout.norm_input),
            );
            program.push(
                section,
                ColumnSums {
                    rows: rows.len(),
                    accumulate,
                    ..scale
                },
            );
        }
        let weights = layer.packed.at(direction * layer.layout.len());
        let backward = LayerNormRowsBackward {
            normalised,
            deviation: deviation.into(),
            scale: weights.at(layer.layout.norm_input),
            gradient,
            rows: rows.len(),
            hidden: norm.hidden,
            slots: norm.slots,
            slot_mask: norm.slot_mask,
        };
        program.push(section, backward);
        Some(normalised)
    }

    /// The second matrix's gradient: the projection's, or the reset-before candidate's.
    fn push_second_product(
        &self,
        program: &mut Program,
        direction: usize,
        rows: &Range<usize>,
        (gates, accumulate): (Region, bool),
    ) {
        let (network, layout) = (self.network, &self.layer.layout);
        let Some(second) = self.second(direction, rows) else {
            return;
        };
        let gradient = match network.config.spec().projection {
            Some(projection) => Matrix::rows(self.rows_gradient(direction, rows), projection.size),
            None => Matrix {
                region: gates.at(CANDIDATE_SLOT),
                strides: [network.units(), layout.slots],
            },
        };
        let gemm = Gemm {
            a: Matrix::rows(second, network.config.hidden_size()).transposed(),
            b: gradient,
            c: Matrix::rows(self.packed(direction, layout.second), layout.second_outputs),
            m: layout.second_inputs,
            n: layout.second_outputs,
            k: rows.len(),
            map: None,
            bias: None,
            accumulate,
        };
        program.push(Section::Backward, gemm);
    }

    /// The input's gradient from that of the input's products; the second direction, and a residual layer, add to what is there.
    pub(super) fn push_input_gradient(
        &self,
        program: &mut Program,
        direction: usize,
        rows: &Range<usize>,
        gates: Region,
    ) {
        let (network, layer) = (self.network, self.layer);
        let Some(input) = self.input else {
            return;
        };
        let reverse = network
            .reverse_table(direction)
            .map(|table| table.at(rows.start));
        let weights = layer.packed.at(direction * layer.layout.len());
        let units = network.units();
        let target = match reverse {
            Some(_) => input,
            None => input.at(rows.start * layer.inputs),
        };
        let gemm = Gemm {
            a: Matrix::rows(gates, units),
            b: Matrix::rows(weights.at(layer.layout.input), units).transposed(),
            c: Matrix::rows(target, layer.inputs),
            m: rows.len(),
            n: layer.inputs,
            k: units,
            map: reverse.map(RowMap::ScatterM),
            bias: None,
            accumulate: direction > 0
                || network.config.is_residual(layer.index)
                || self.scatters_before_gather(),
        };
        program.push(Section::Backward, gemm);
    }

    /// What is left after the last chunk.
    pub(super) fn push_end(&self, program: &mut Program) {
        let (network, section) = (self.network, Section::Backward);
        for direction in 0..network.config.directions() {
            for (outside, inside, cell) in self.state_gradients(direction, true) {
                let table = network.tables.sorted_of;
                let width = self.network.state_width(cell);
                program.push(section, network.reorder((inside, outside), table, width));
            }
        }
        if network.options.parameter_gradients {
            self.push_parameter_gradients(program);
        }
    }

    /// The gradients of vectors, and the way of all parameters' to the flat gradients.
    fn push_parameter_gradients(&self, program: &mut Program) {
        let (network, layer) = (self.network, self.layer);
        let section = Section::Backward;
        let (batch, vectors) = (network.packing.batch(), layer.layout.vectors_len());
        for direction in 0..network.config.directions() {
            let sums = ColumnSums {
                a: self.carry_region(self.carry.vectors + direction * batch * vectors),
                a_stride: vectors,
                b: None,
                b_stride: 0,
                target: self.packed(direction, layer.layout.vectors),
                rows: batch,
                columns: vectors,
                accumulate: false,
            };
            program.push(section, sums);
            if let Some(projection) = network.config.spec().projection.filter(|p| p.bias) {
                let bias = ColumnSums {
                    a: self.rows_gradient(direction, &(0..0)),
                    a_stride: projection.size,
                    target: self.packed(direction, layer.layout.projection_bias),
                    rows: network.packing.tokens(),
                    columns: projection.size,
                    ..sums
                };
                program.push(section, bias);
            }
        }
        let moved = |job: CopyJob| CopyJob {
            target: job.target + self.buffers.parameters.offset,
            ..job
        };
        let copies = StridedCopies {
            source: self.own.packed,
            target: self.buffers.parameters.buffer,
            jobs: layer
                .jobs
                .gradients(&layer.layout)
                .into_iter()
                .map(moved)
                .collect(),
            accumulate: network.options.accumulate,
        };
        program.push(section, copies);
    }

    /// The dropout of the input's `rows`, backward.
    pub(super) fn push_input_dropout(&self, program: &mut Program, rows: &Range<usize>) {
        if let Some(input) = self.input {
            let layer = (self.layer, rows);
            (self.network).push_dropout(program, Section::Backward, layer, (input, input));
        }
    }

    fn carry_region(&self, offset: usize) -> Region {
        self.own.carry.at(offset)
    }

    /// A part of the packed gradients.
    fn packed(&self, direction: usize, offset: usize) -> Region {
        Region::from(self.own.packed).at(direction * self.layer.layout.gradient_len() + offset)
    }

    /// The gradient of a direction's state rows, from `rows.start` on.
    fn rows_gradient(&self, direction: usize, rows: &Range<usize>) -> Region {
        let tokens = self.network.packing.tokens();
        let width = self.network.config.state_size();
        self.own.rows.at((direction * tokens + rows.start) * width)
    }

    /// What entered the second product, from `rows.start` on.
    fn second(&self, direction: usize, rows: &Range<usize>) -> Option<Region> {
        let row = direction * self.network.packing.tokens() + rows.start;
        let hidden = self.network.config.hidden_size();
        self.layer
            .states
            .second
            .map(|second| second.at(row * hidden))
    }

    /// The states that `rows` started from: a region and, if they are not contiguous, the table to gather them with.
    fn previous_states(
        &self,
        direction: usize,
        rows: &Range<usize>,
    ) -> (Region, Option<crate::ops::TableOffset>) {
        let network = self.network;
        let state = network.config.state_size();
        let states = self
            .layer
            .states
            .recurrent_input
            .at(direction * network.kept_rows() * state);
        match network.tables.previous {
            Some(table) => (states, Some(table.at(rows.start))),
            None => (states.at(rows.start * state), None),
        }
    }

    /// (at the network's edge, in the carry, whether it is the cell state): of the final states or of the initial ones.
    fn state_gradients(&self, direction: usize, initial: bool) -> Vec<(Region, Region, bool)> {
        let network = self.network;
        let buffers = &self.buffers;
        let (h, c) = match initial {
            false => (buffers.h_n, buffers.c_n),
            true => (buffers.h0, buffers.c0),
        };
        let sequence = direction * network.packing.batch();
        let edge = |buffer, cell| network.state_region(buffer, self.layer.index, direction, cell);
        let inside =
            |offset, cell| self.carry_region(offset + sequence * self.network.state_width(cell));
        let mut regions = vec![(edge(h, false), inside(0, false), false)];
        if let Some(c) = c {
            regions.push((edge(c, true), inside(self.carry.c, true), true));
        }
        regions
    }

    fn column_sums(&self, (a, b): (Region, Option<Region>), target: Region) -> ColumnSums {
        let units = self.network.units();
        ColumnSums {
            a,
            a_stride: units,
            b,
            b_stride: units,
            target,
            rows: 0,
            columns: units,
            accumulate: false,
        }
    }
}
