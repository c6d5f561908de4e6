//! The [`RecurrentBackward`] of a layer and the products over its rows as one: a thread takes a tile of sequences through the
//! recurrent backward, the input's gradient and its part of the weights' gradients, step by step and through all chunks of time.
//! The gates' gradients never leave the nearest cache, and no thread waits for another until the end.
//!
//! Sums over sequences are taken tile by tile, and what is a tile, and whether this is done at all, depends on the sizes alone:
//! results are the same on any number of threads.

use std::sync::Arc;

use crate::cpu::access::{Accesses, elements, matrix};
use crate::cpu::memory::{Extent, Memory};
use crate::cpu::panel_cache::PanelSource;
use crate::cpu::plain::{self, Entering, Given, Kind, LayerPanels, LayerSource, WeightGradients};
use crate::cpu::recurrence::{Extents, check, most_rows, multiplications, of_directions};
use crate::cpu::recurrent_backward::GradientExtents;
use crate::cpu::run::{Context, Run};
use crate::cpu::shares::{Places, Rows};
use crate::cpu::simd::MOST_LANES;
use crate::cpu::tile::BackwardRows;
use crate::error::{Error, Result};
use crate::ops::{
    ColumnSums, Gemm, Matrix, Operation, Program, Recurrence, RecurrentBackward, Region, Role,
    RowMap, TableOffset,
};

/// Sequences that should run in a step on average: with fewer there are too few tiles.
const LEAST_SEQUENCES: usize = 64;
/// Sequences from which on tiles are large.
const MANY_SEQUENCES: usize = 512;
/// Elements of a tile's part of the weights' gradients that a near cache holds beside all else.
const MOST_PARTIAL: usize = 1 << 15;
/// All parts together are at most this share of the gates.
const PARTIALS_SHARE: usize = 8;

/// Consecutive steps of a layer.
#[derive(Debug)]
pub(super) struct LayerBackward {
    kind: Kind,
    sweep: RecurrentBackward,
    directions: Vec<Products>,
    /// Where the rows of each direction's gradient of the input go, if they are scattered.
    places: Vec<Option<Places>>,
}

/// The products of one direction.
#[derive(Debug, Clone, Copy)]
struct Products {
    bias: ColumnSums,
    input: Gemm,
    recurrent: Gemm,
    d_input: Option<Gemm>,
}

impl LayerBackward {
    /// The chunks of a layer that `operations` begin with, and how many operations they are, if doing them as one is possible
    /// and worth it.
    pub(super) fn take(program: &Program, operations: &[Operation]) -> Option<(Self, usize)> {
        let first = |from: usize| Self::chunk(program, operations.get(from..)?);
        let (mut layer, mut taken) = first(0)?;
        while let Some((next, count)) = first(taken) {
            if !layer.extend(&next) {
                break;
            }
            taken += count;
        }
        if !layer.is_worth_it() {
            return None;
        }
        // Of all chunks together: a thread takes a tile through all of them.
        layer.places = { layer.directions.iter() }
            .map(|products| products.places(program))
            .collect::<Option<_>>()?;
        Some((layer, taken))
    }

    /// The chunk that `operations` begin with, and how many they are.
    fn chunk(program: &Program, operations: &[Operation]) -> Option<(Self, usize)> {
        let Operation::RecurrentBackward(sweep) = operations.first()? else {
            return None;
        };
        let (op, mut taken) = (&sweep.forward, 1);
        let kind = plain::kind(op)?;
        if program.buffers().get(op.weights.buffer.0)?.role != Role::Packed {
            return None;
        }
        if !(1..=2).contains(&op.directions) || !Self::is_small(op, kind, operations) {
            return None;
        }
        let mut directions = Vec::with_capacity(op.directions);
        for direction in 0..op.directions {
            let place = Place::new(op, direction)?;
            let (products, count) = place.products(program, operations.get(taken..)?)?;
            directions.push(products);
            taken += count;
        }
        let same = |of: &Products| {
            let first: &Products = &directions[0];
            (of.input.m, of.input.accumulate, of.d_input.is_some())
                == (
                    first.input.m,
                    first.input.accumulate,
                    first.d_input.is_some(),
                )
        };
        let layer = Self {
            kind,
            sweep: sweep.clone(),
            directions: directions.clone(),
            places: Vec::new(),
        };
        directions.iter().all(same).then_some((layer, taken))
    }

    /// Whether a tile's part of the weights' gradients is small.
    fn is_small(op: &Recurrence, kind: Kind, operations: &[Operation]) -> bool {
        // After the sweep and the biases' sums.
        let Some(Operation::Gemm(input)) = operations.get(2) else {
            return false;
        };
        plain::partial_len(op, kind, input.m, MOST_LANES) <= MOST_PARTIAL
    }

    /// Whether there are many sequences, and the weights' gradients of all tiles are few.
    fn is_worth_it(&self) -> bool {
        let (op, rows) = (&self.sweep.forward, self.directions[0].input.k);
        let partial = self.partial_len(MOST_LANES);
        let gates = elements(&[rows, op.hidden, op.layout.slots]);
        rows / op.steps.len() >= LEAST_SEQUENCES
            && elements(&[partial, self.tiles(), PARTIALS_SHARE]) <= gates
    }

    fn inputs(&self) -> usize {
        self.directions[0].input.m
    }

    fn partial_len(&self, lanes: usize) -> usize {
        plain::partial_len(&self.sweep.forward, self.kind, self.inputs(), lanes)
    }

    /// Sequences of a tile.
    fn sequences(&self) -> usize {
        match self.sweep.forward.batch {
            MANY_SEQUENCES.. => plain::MOST_SEQUENCES,
            _ => plain::MOST_SEQUENCES / 2,
        }
    }

    fn tiles(&self) -> usize {
        most_rows(&self.sweep.forward).div_ceil(self.sequences())
    }

    /// Takes on the chunk before; not if it is another layer's.
    fn extend(&mut self, next: &Self) -> bool {
        let (own, other) = (&self.sweep, &next.sweep);
        let gradients = |of: &RecurrentBackward| (of.output_gradient, of.h_gradient, of.c_gradient);
        let same_layer = gradients(own) == gradients(other)
            && own.rebuilt == other.rebuilt
            && self.directions.len() == next.directions.len();
        let (own, other) = (&own.forward, &other.forward);
        let same_gates = |of: &Recurrence| (of.gates, of.gate_rows, of.first_row);
        let same_layer = same_layer
            && Arc::ptr_eq(&own.offsets, &other.offsets)
            && (own.weights, own.layout) == (other.weights, other.layout)
            && (own.states.h, own.states.c) == (other.states.h, other.states.c)
            && same_gates(own) == same_gates(other)
            && own.steps.start == other.steps.end;
        let pairs = || self.directions.iter().zip(&next.directions);
        if !(same_layer && pairs().all(|(own, next)| own.follows(next))) {
            return false;
        }
        self.sweep.forward.steps.start = next.sweep.forward.steps.start;
        for (own, next) in self.directions.iter_mut().zip(&next.directions) {
            own.prepend(next);
        }
        true
    }

    /// What is written for the weights: biases, input's and recurrent ones of each direction.
    fn targets(&self) -> impl Iterator<Item = Extent> {
        let of = |products: &Products| {
            let Products {
                bias,
                input,
                recurrent,
                ..
            } = *products;
            let matrix = |of: Gemm| Extent::new(of.c.region, elements(&[of.m, of.n]));
            let bias = Extent::new(bias.target, bias.columns);
            [bias, matrix(input), matrix(recurrent)]
        };
        self.directions.iter().flat_map(of)
    }

    /// One direction's sweep over all its tiles.
    fn sweep(
        &self,
        direction: usize,
        panels: &LayerPanels,
        given: Given<'_>,
        [gates, d_h, d_c, d_input, scratch]: [&mut [f32]; 5],
    ) {
        let op = &self.sweep.forward;
        let (units, hidden) = (op.hidden * op.layout.slots, op.hidden);
        let width = plain::scratch_width(op, self.kind, panels.lanes());
        let (products, partials) = scratch.split_at_mut(op.batch * width);
        let d_input = match &self.directions[direction].d_input {
            None => Rows::absent(),
            Some(gemm) => {
                let start = gemm.c.region.offset - self.d_input_start();
                let first = op.offsets.offsets()[op.steps.start];
                Rows::new(&mut d_input[start..], gemm.n).starting_at(first)
            }
        };
        let rows = BackwardRows {
            gates: Rows::new(gates, units),
            d_h: Rows::new(d_h, hidden),
            d_c: Rows::new(d_c, hidden),
            products: Rows::new(products, width),
            partial: Rows::new(partials, self.partial_len(panels.lanes())),
            d_input,
            places: self.places[direction].as_ref(),
            ..BackwardRows::absent()
        };
        plain::backward(op, (self.kind, direction), panels, given, rows);
    }

    /// The first element of the input's gradient that any direction writes.
    fn d_input_start(&self) -> usize {
        let starts = self.directions.iter().filter_map(|of| of.d_input);
        starts.map(|gemm| gemm.c.region.offset).min().unwrap_or(0)
    }

    /// All of the input's gradient that the directions write, and its length.
    fn d_input(&self, words: impl Fn(&Gemm) -> Result<usize>) -> Result<Option<Extent>> {
        let start = self.d_input_start();
        let mut extent: Option<Extent> = None;
        for gemm in self.directions.iter().filter_map(|of| of.d_input) {
            let end = gemm.c.region.offset + matrix(&gemm.c, words(&gemm)?, gemm.n);
            let region = Region {
                buffer: gemm.c.region.buffer,
                offset: start,
            };
            let len = extent.map_or(0, |extent| extent.len).max(end - start);
            extent = Some(Extent::new(region, len));
        }
        Ok(extent)
    }

    /// Adds up the tiles' parts.
    fn collect(&self, memory: &Memory, scratch: &mut [f32], lanes: usize) -> Result<()> {
        let op = &self.sweep.forward;
        let width = plain::scratch_width(op, self.kind, lanes);
        let len = self.partial_len(lanes);
        let partials = self.tiles() * len;
        let of_direction = scratch.len() / op.directions;
        let targets: Vec<Extent> = self.targets().collect();
        for (direction, targets) in targets.as_chunks::<3>().0.iter().enumerate() {
            let start = direction * of_direction + op.batch * width;
            let partials = &mut scratch[start..start + partials];
            memory.write_parts(*targets, |[bias, input, recurrent]| {
                let targets = WeightGradients {
                    input,
                    recurrent,
                    bias,
                    accumulate: self.directions[direction].input.accumulate,
                };
                plain::collect(op, self.kind, (partials, len, lanes), targets);
            })?;
        }
        Ok(())
    }
}

/// One direction's rows of a chunk.
struct Place<'a> {
    op: &'a Recurrence,
    direction: usize,
    /// Rows of the batch.
    start: usize,
    end: usize,
    gates: Region,
    units: usize,
}

impl<'a> Place<'a> {
    fn new(op: &'a Recurrence, direction: usize) -> Option<Self> {
        let offsets = op.offsets.offsets();
        let (start, end) = (*offsets.get(op.steps.start)?, *offsets.get(op.steps.end)?);
        let units = op.hidden * op.layout.slots;
        if end <= start || units == 0 {
            return None;
        }
        let row = (direction * op.gate_rows + start).checked_sub(op.first_row)?;
        Some(Self {
            op,
            direction,
            start,
            end,
            gates: op.gates.at(row * units),
            units,
        })
    }

    /// The products that `operations` begin with, and how many they are, if they are over these rows.
    fn products(&self, program: &Program, operations: &[Operation]) -> Option<(Products, usize)> {
        let [
            Operation::ColumnSums(bias),
            Operation::Gemm(input),
            Operation::Gemm(recurrent),
            rest @ ..,
        ] = operations
        else {
            return None;
        };
        let d_input = match rest.first() {
            Some(Operation::Gemm(gemm)) => Some(gemm).filter(|gemm| self.is_d_input(gemm, input.m)),
            _ => None,
        };
        let fits = self.is_bias(bias)
            && self.is_weights(input)
            && self.is_weights(recurrent)
            && self.reads_states(program, recurrent)
            && bias.accumulate == input.accumulate
            && bias.accumulate == recurrent.accumulate;
        let products = Products {
            bias: *bias,
            input: *input,
            recurrent: *recurrent,
            d_input: d_input.copied(),
        };
        fits.then_some((products, 3 + usize::from(d_input.is_some())))
    }

    fn rows(&self) -> usize {
        self.end - self.start
    }

    fn is_bias(&self, sums: &ColumnSums) -> bool {
        (sums.a, sums.a_stride, sums.b) == (self.gates, self.units, None)
            && (sums.rows, sums.columns) == (self.rows(), self.units)
    }

    /// Whether it is a product of something with the gates' gradients, over all rows.
    fn is_weights(&self, gemm: &Gemm) -> bool {
        gemm.a.strides == [1, gemm.m]
            && gemm.m > 0
            && gemm.b == Matrix::rows(self.gates, self.units)
            && gemm.c.strides == [self.units, 1]
            && (gemm.n, gemm.k) == (self.units, self.rows())
            && matches!(gemm.map, None | Some(RowMap::GatherK(_)))
            && gemm.bias.is_none()
    }

    /// Whether the recurrent weights' product is with the states before each row.
    fn reads_states(&self, program: &Program, gemm: &Gemm) -> bool {
        let op = self.op;
        let states = self.direction * (op.batch + op.tokens) * op.state;
        let states = op.states.h.at(states);
        let offsets = op.offsets.offsets();
        let previous = op.steps.clone().flat_map(|step| {
            let first = match step {
                0 => 0,
                _ => op.batch + offsets[step - 1],
            };
            first..first + op.offsets.batch_size(step)
        });
        let read = match gemm.map {
            Some(RowMap::GatherK(table)) => {
                let words = words(program, table, gemm.k).iter();
                gemm.a.region == states && words.map(|&row| row as usize).eq(previous)
            }
            _ => {
                let first = states.at(self.start * op.state);
                gemm.a.region == first && (self.start..self.end).eq(previous)
            }
        };
        read && gemm.m == op.state && op.states.recurrent_input == op.states.h
    }

    /// Whether it is the input's gradient.
    fn is_d_input(&self, gemm: &Gemm, inputs: usize) -> bool {
        let op = self.op;
        let weights = self.direction * op.layout.len() + op.layout.input;
        let weights = op.weights.at(weights);
        gemm.a == Matrix::rows(self.gates, self.units)
            && gemm.b == Matrix::rows(weights, self.units).transposed()
            && gemm.c.strides == [inputs, 1]
            && [gemm.m, gemm.n, gemm.k] == [self.rows(), inputs, self.units]
            && matches!(gemm.map, None | Some(RowMap::ScatterM(_)))
            && gemm.bias.is_none()
    }
}

/// `len` words of the table; fewer if it ends before.
fn words(program: &Program, table: TableOffset, len: usize) -> &[u32] {
    let words = program.words().get(table.0..).unwrap_or_default();
    &words[..len.min(words.len())]
}

impl Products {
    /// Where the rows of the input's gradient go, if they are scattered; nothing at all if two go to one place.
    fn places(&self, program: &Program) -> Option<Option<Places>> {
        let Some((gemm, RowMap::ScatterM(table))) = self.d_input.and_then(|d| Some((d, d.map?)))
        else {
            return Some(None);
        };
        let buffer = program.buffers().get(gemm.c.region.buffer.0)?;
        let rows = words(program, table, gemm.m);
        Places::new(rows, buffer.len / gemm.n).map(Some)
    }

    /// Whether its rows follow those of `before`, with all else the same.
    fn follows(&self, before: &Self) -> bool {
        let read = |own: &Gemm, before: &Gemm| {
            let rows = match (own.map, before.map) {
                (None, None) => before.a.region.at(before.k * before.a.strides[1]) == own.a.region,
                (Some(RowMap::GatherK(own_table)), Some(RowMap::GatherK(table))) => {
                    table.at(before.k) == own_table && own.a.region == before.a.region
                }
                _ => false,
            };
            rows && own.m == before.m && own.c == before.c && before.accumulate
        };
        let written = match (&self.d_input, &before.d_input) {
            (None, None) => true,
            (Some(own), Some(before)) => {
                let rows = match (own.map, before.map) {
                    (None, None) => {
                        before.c.region.at(before.m * before.c.strides[0]) == own.c.region
                    }
                    (Some(RowMap::ScatterM(own_table)), Some(RowMap::ScatterM(table))) => {
                        table.at(before.m) == own_table && own.c.region == before.c.region
                    }
                    _ => false,
                };
                rows && own.accumulate == before.accumulate
            }
            _ => false,
        };
        written
            && read(&self.input, &before.input)
            && read(&self.recurrent, &before.recurrent)
            && self.bias.target == before.bias.target
    }

    /// Takes on the rows before.
    fn prepend(&mut self, before: &Self) {
        self.bias.a = before.bias.a;
        self.bias.rows += before.bias.rows;
        let products = [&mut self.input, &mut self.recurrent];
        for (own, before) in products.into_iter().zip([&before.input, &before.recurrent]) {
            own.a = before.a;
            own.b = before.b;
            own.map = before.map;
            own.k += before.k;
        }
        if let (Some(own), Some(before)) = (&mut self.d_input, &before.d_input) {
            own.a = before.a;
            own.c = before.c;
            own.map = before.map;
            own.m += before.m;
        }
    }
}

impl Run for LayerBackward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let op = &self.sweep.forward;
        check(op, accesses)?;
        self.sweep.validate()?;
        let (extents, gradients) = (Extents::new(op), GradientExtents::new(&self.sweep));
        accesses.read(op.states.h, extents.h)?;
        accesses.read_optional(op.states.c, extents.c)?;
        accesses.read(self.sweep.output_gradient, gradients.output)?;
        accesses.write(op.gates, extents.gates)?;
        accesses.write(self.sweep.h_gradient, gradients.h)?;
        accesses.write_optional(self.sweep.c_gradient, gradients.c)?;
        for Products { input, .. } in &self.directions {
            let rows = match input.map {
                Some(RowMap::GatherK(table)) => accesses.rows_reached(table, input.k)?,
                _ => input.k,
            };
            accesses.read(input.a.region, matrix(&input.a, input.m, rows))?;
        }
        for Extent { region, len } in self.targets() {
            match self.directions[0].input.accumulate {
                true => accesses.write(region, len)?,
                false => accesses.replace(region, len)?,
            }
        }
        let reached = |gemm: &Gemm| match gemm.map {
            Some(RowMap::ScatterM(table)) => accesses.rows_reached(table, gemm.m),
            _ => Ok(gemm.m),
        };
        if let Some(Extent { region, len }) = self.d_input(reached)? {
            accesses.write(region, len)?;
        }
        Ok(())
    }

    fn scratch(&self) -> usize {
        let op = &self.sweep.forward;
        let products = elements(&[op.batch, plain::scratch_width(op, self.kind, MOST_LANES)]);
        let partials = elements(&[self.tiles(), self.partial_len(MOST_LANES)]);
        elements(&[op.directions, products.saturating_add(partials)])
    }

    fn multiplications(&self) -> usize {
        let of = |products: &Products| {
            let gemms = [
                Some(products.input),
                Some(products.recurrent),
                products.d_input,
            ];
            let gemms = gemms.iter().flatten().map(Run::multiplications);
            gemms.fold(0, usize::saturating_add)
        };
        let all = self.directions.iter().map(of);
        all.fold(multiplications(&self.sweep.forward), usize::saturating_add)
    }

    fn panels(&self) -> Option<PanelSource> {
        let mut source = LayerSource::new(&self.sweep.forward)?.with_backward();
        if self.directions[0].d_input.is_some() {
            source = source.with_input_gradients(self.inputs());
        }
        Some(PanelSource::Layer(Box::new(source)))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let (op, memory) = (&self.sweep.forward, context.memory);
        let panels = context.layer_panels().ok_or(Error::State(
            "a layer's weights are in panels before it is run",
        ))?;
        let (extents, gradients) = (Extents::new(op), GradientExtents::new(&self.sweep));
        let h = memory.part(op.states.h)?;
        let c = memory.optional(op.states.c)?;
        let c = c.as_deref().unwrap_or(&[]);
        let output = memory.part(self.sweep.output_gradient)?;
        let entering = |of: &Products| memory.part(of.input.a.region);
        let entering = self
            .directions
            .iter()
            .map(entering)
            .collect::<Result<Vec<_>>>()?;
        let reached = |gemm: &Gemm| {
            Ok(match gemm.map {
                Some(RowMap::ScatterM(table)) => {
                    let words = context.words(table, gemm.m).iter();
                    words.max().map_or(0, |&row| row as usize + 1)
                }
                _ => gemm.m,
            })
        };
        let parts = [
            Extent::new(op.gates, extents.gates),
            Extent::new(self.sweep.h_gradient, gradients.h),
            Extent::optional(self.sweep.c_gradient, gradients.c, op.gates),
            self.d_input(reached)?.unwrap_or(Extent::new(op.gates, 0)),
        ];
        // Borrowed apart from the rest of the context.
        let mut context = context;
        let scratch = std::mem::take(&mut context.scratch);
        let scratch = &mut scratch[..self.scratch()];
        let of = |values: &'_ [f32], direction: usize, len: usize| {
            let len = if values.is_empty() {
                0
            } else {
                len / op.directions
            };
            direction * len..(direction + 1) * len
        };
        memory.write_parts(parts, |[gates, d_h, d_c, d_input]| {
            let split = |values| of_directions(values, op.directions);
            let of_all = [split(gates), split(d_h), split(d_c), split(scratch)];
            let [[g0, g1], [h0, h1], [c0, c1], [s0, s1]] = of_all;
            // One after the other: both may add to the same rows of the input's gradient.
            for (direction, [gates, d_h, d_c, scratch]) in
                [[g0, h0, c0, s0], [g1, h1, c1, s1]].into_iter().enumerate()
            {
                let Some(products) = self.directions.get(direction) else {
                    break;
                };
                let input = &products.input;
                let given = Given {
                    h: &h[of(&h, direction, extents.h)],
                    c: &c[of(c, direction, extents.c)],
                    d_output: &output[of(&output, direction, gradients.output)],
                    rebuilt: self.sweep.rebuilt,
                    products: Some(plain::Products {
                        entering: Entering {
                            values: &entering[direction],
                            stride: input.a.strides[1],
                            inputs: input.m,
                            rows: match input.map {
                                Some(RowMap::GatherK(table)) => Some(context.words(table, input.k)),
                                _ => None,
                            },
                            first: op.offsets.offsets()[op.steps.start],
                        },
                        sequences: self.sequences(),
                        d_input: products.d_input.is_some(),
                        accumulate: products.d_input.is_some_and(|gemm| gemm.accumulate),
                    }),
                };
                let parts = [gates, d_h, d_c, &mut *d_input, scratch];
                self.sweep(direction, panels, given, parts);
            }
        })?;
        self.collect(memory, scratch, panels.lanes())
    }
}
