//! The story of a recurrent network over the [operations](crate::ops): forward, then backward.
//!
//! [`Network`] writes a configuration and a packing down as operations of a [`Program`]; what stands around it (a head,
//! a loss, an optimizer) appends its own before, between and after. [`Rnn`] is the convenience on top: a device, a
//! configuration and weights, run on whatever batch comes.
//!
//! Layer by layer, the forward is
//!
//! 1. initial states into row 0.. of the state buffer ([`GatherRows`]),
//! 2. for each chunk of time: the input projection of all its steps at once ([`Gemm`]), then the recurrence,
//! 3. the directions merged into the layer's output ([`MergeDirections`](crate::ops::MergeDirections)), dropout, final states gathered;
//!
//! and the backward is its mirror: the output's gradient split, and for each chunk from the last to the first the sweep,
//! then the gradients of weights and input as products over all its steps at once.
//!
//! A stack with few sequences goes by its [wavefront](NetworkOptions::wavefront) instead: the same operations for the cells
//! (layer, chunk) of one anti-diagonal after another.

mod backward;
mod forward;
mod gradients;
mod packing;
mod session;
mod wavefront;

use std::ops::Range;
use std::sync::Arc;

use crate::batch::Packing;
use crate::config::{Cell, RnnConfig};
use crate::device::Device;
use crate::error::{Error, Result, checked_product};
use crate::ops::{
    BufferId, GatherRows, Gemm, Matrix, Mode, Precision, Program, Region, Role, RowMap,
    StateRegions, TableOffset,
};
use crate::packed::PackedLayout;
use crate::params::ParameterLayout;

use gradients::LayerGradients;

pub use gradients::GradientBuffers;
pub use packing::PackingJobs;
pub use session::Rnn;

/// What the backward section starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GradientMode {
    /// The forward saves every gate.
    #[default]
    Save,
    /// The forward saves only states; the backward rebuilds the gates chunk by chunk with matrix products over the saved
    /// states. Several times less memory, the same gradients to rounding.
    Recompute,
}

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkOptions {
    /// Whether dropout and zoneout are drawn.
    pub mode: Mode,
    /// Whether there is a backward section.
    pub gradients: Option<GradientMode>,
    /// Whether the gradient of the input is wanted.
    pub input_gradient: bool,
    /// Whether a gradient of the output will come; without it a loss depends on final states alone.
    pub output_gradient: bool,
    /// Whether the gradients of the parameters are wanted: not so where they are frozen and only what lies before is trained.
    pub parameter_gradients: bool,
    /// The number of the first layer, for what dropout and zoneout draw: two networks of one program number their layers apart,
    /// so that they draw apart.
    pub first_site: usize,
    /// Adds the parameters' gradients to what is there instead of replacing it.
    pub accumulate: bool,
    /// Whether initial states are given; without them they are zero.
    pub initial_state: bool,
    /// Steps after which gradients are cut: what reaches a state is not passed on across a multiple of so many steps, in each
    /// layer and direction, counted from where the direction begins (truncated backpropagation through time; Williams and Peng
    /// 1990). The forward is whole: unlike [`Chunks`](crate::train::Chunks) with carried states, this serves both directions.
    pub truncation: Option<usize>,
    /// Rows of a time chunk where gates are not saved; at least one step is taken.
    pub chunk_rows: usize,
    /// Bytes of gates that a time chunk should not exceed, saved or not, so that what writes them and what reads them again
    /// meet in a cache: see [`Device::near_bytes`].
    pub near_bytes: Option<usize>,
    /// Steps of a chunk of time with which a stack goes by its wavefront: forward, a layer takes a chunk while the layer below it
    /// takes the next one; backward, while the layer above it takes the one before; all of them at once where the device can
    /// (Appleyard et al. 2016, Optimizing Performance of Recurrent Neural Networks on GPUs). `None`: layer after layer.
    ///
    /// It gains where few sequences leave most of a GPU's cores idle, and takes for each layer what else they share: states and
    /// a chunk's gates in inference, the gradients of state rows in training. For up to 16 sequences of more steps than a chunk
    /// has, and layers of one forward direction, as far as one binding reaches all layers' buffers on every adapter; others go
    /// layer after layer all the same.
    pub wavefront: Option<usize>,
    /// How packed weights and all activations are stored: gates, the states of all steps, what passes from one layer to the
    /// next.
    ///
    /// [`Precision::F16`] halves these; a GPU with the feature `SHADER_F16` can. Sums, the parameters, their gradients, and
    /// everything that the caller writes or reads are `f32` still, and so are the states that the recurrence reads and the
    /// final ones: two rows for each sequence, which all layers share. The states of all steps that are kept beside them are
    /// rounded: the last layer's output is made of these, and the backward starts from them.
    ///
    /// The backward leaves the gates' gradients in the place of the gates. Where a loss is so small that these come below
    /// `6e-5` they lose bits, below `6e-8` they are 0: multiply the loss's gradient by a power of two, and divide the
    /// parameters' gradients by it (loss scaling; Micikevicius et al. 2018, Mixed Precision Training).
    pub storage: Precision,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Evaluation,
            gradients: None,
            input_gradient: true,
            output_gradient: true,
            parameter_gradients: true,
            first_site: 0,
            accumulate: false,
            initial_state: false,
            truncation: None,
            chunk_rows: 4096,
            near_bytes: None,
            wavefront: None,
            storage: Precision::F32,
        }
    }
}

impl NetworkOptions {
    /// The first step after `start` across which no gradient passes.
    fn next_cut(&self, start: usize) -> usize {
        (self.truncation).map_or(usize::MAX, |steps| {
            (start / steps + 1).saturating_mul(steps)
        })
    }

    /// The defaults, with chunks as they suit a device.
    pub fn on(device: &dyn Device) -> Self {
        let chunk_rows = Self::default().chunk_rows;
        Self {
            near_bytes: device.near_bytes(),
            wavefront: device.wave_steps(),
            // Where bytes bound a chunk of wide rows, narrow ones may be more.
            chunk_rows: device.near_bytes().map_or(chunk_rows, |_| 4 * chunk_rows),
            ..Self::default()
        }
    }
}

/// Row indices of a packing in the program's table; those that a configuration does not need are not there.
#[derive(Debug, Clone, Copy)]
struct Tables {
    offsets: TableOffset,
    order: TableOffset,
    sorted_of: TableOffset,
    final_rows: TableOffset,
    /// `None` where the previous state row of row `r` is row `r` itself.
    previous: Option<TableOffset>,
    reverse: Option<TableOffset>,
    /// Sequence and step of each row, for dropout.
    sites: Option<[TableOffset; 2]>,
}

/// The buffers of one layer.
#[derive(Debug)]
struct Layer {
    index: usize,
    inputs: usize,
    layout: PackedLayout,
    jobs: PackingJobs,
    packed: Region,
    /// With a backward section.
    gradients: Option<LayerGradients>,
    /// What enters the layer, after dropout.
    input: Region,
    states: StateRegions,
    /// `[directions, rows of a chunk, hidden, slots]`
    gates: Region,
    recurrent_sums: Option<Region>,
    /// Where states are kept in half precision: those that the recurrence reads.
    running: Option<StateRegions>,
    output: BufferId,
}

/// A network's place in a [`Program`]: its inputs, outputs and gradients.
#[derive(Debug)]
pub struct Network {
    /// Input rows, `[tokens, input size]`.
    pub x: BufferId,
    /// Output rows, `[tokens, output size]`.
    pub y: BufferId,
    /// Initial hidden states, `[layers * directions, batch, state size]`, if asked for.
    pub h0: Option<BufferId>,
    /// Initial cell states, `[layers * directions, batch, hidden]`: LSTM, if asked for.
    pub c0: Option<BufferId>,
    /// Final hidden states, as `h0`.
    pub h_n: BufferId,
    /// Final cell states, as `c0`.
    pub c_n: Option<BufferId>,
    /// Gradients in and out, if there is a backward section.
    pub gradients: Option<GradientBuffers>,
    config: RnnConfig,
    packing: Arc<Packing>,
    options: NetworkOptions,
    parameters: Region,
    tables: Tables,
    layers: Vec<Layer>,
    chunks: Vec<Range<usize>>,
    /// The chunks of a stack that goes by its wavefront; empty where it goes layer after layer.
    wave_chunks: Vec<Range<usize>>,
    /// Raw input products and deviations of a chunk, for the backward of whole-row normalisation.
    normalised: Option<BufferId>,
    deviation: Option<BufferId>,
}

/// Where a network finds what it works on in a caller's program, and leaves what it makes.
#[derive(Debug, Clone, Copy)]
pub struct NetworkPlaces {
    /// The parameters, flat in [`ParameterLayout`] order.
    pub parameters: Region,
    /// Where their gradients go, likewise; needed for a backward section, unless no
    /// [`parameter_gradients`](NetworkOptions::parameter_gradients) are wanted.
    pub gradients: Option<Region>,
    /// Input rows, `[tokens, input size]`; without them the network makes a buffer of the role [`Role::Input`].
    pub x: Option<BufferId>,
    /// With [`initial_state`](NetworkOptions::initial_state): the initial hidden states, likewise.
    pub h0: Option<BufferId>,
    /// LSTM: the initial cell states, likewise.
    pub c0: Option<BufferId>,
}

impl Network {
    /// Adds the buffers of a network to `program`, those of its input and its initial states among them. `parameters` is a flat
    /// buffer in [`ParameterLayout`] order (the network's part may start at an offset), `gradients` likewise, needed if `options`
    /// ask for a backward section.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a size does not fit, [`Error::State`] if the gradients' region is missing.
    pub fn new(
        program: &mut Program,
        config: &RnnConfig,
        packing: &Arc<Packing>,
        options: &NetworkOptions,
        parameters: Region,
        gradients: Option<Region>,
    ) -> Result<Self> {
        let places = NetworkPlaces {
            parameters,
            gradients,
            x: None,
            h0: None,
            c0: None,
        };
        Self::with_places(program, config, packing, options, places)
    }

    /// Adds the buffers of a network to `program` that `places` does not name.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a size does not fit, [`Error::State`] if the gradients' region is missing, [`Error::Shape`] if a
    /// buffer has another length than the network's.
    pub fn with_places(
        program: &mut Program,
        config: &RnnConfig,
        packing: &Arc<Packing>,
        options: &NetworkOptions,
        places: NetworkPlaces,
    ) -> Result<Self> {
        let sizes = Sizes::new(config, packing)?;
        if options.truncation == Some(0) {
            return Err(Error::option("truncation", "must be at least 1, is 0"));
        }
        if options.wavefront == Some(0) {
            return Err(Error::option("wavefront", "must be at least 1, is 0"));
        }
        let chunks = chunks(config, packing, options);
        let wave_chunks = wavefront::chunks(config, packing, options)?;
        let tables = Tables::new(program, config, packing, options);
        let is_lstm = config.spec().cell == Cell::Lstm;
        let h_n = program.buffer("h_n", sizes.state_h, Role::Output);
        let c_n = is_lstm.then(|| program.buffer("c_n", sizes.state_c, Role::Output));
        let mut given = |label, buffer: Option<BufferId>, len| match buffer {
            Some(buffer) => program.check_len(buffer, len).map(|()| buffer),
            None => Ok(program.buffer(label, len, Role::Input)),
        };
        let (h0, c0) = match options.initial_state {
            true => {
                let h = given("h0", places.h0, sizes.state_h)?;
                let c = is_lstm.then(|| given("c0", places.c0, sizes.state_c));
                (Some(h), c.transpose()?)
            }
            false => (None, None),
        };
        let x = given("x", places.x, sizes.x)?;
        let layers = forward::allocate(
            program,
            (config, options),
            &sizes,
            (packing, [&chunks, &wave_chunks]),
            x,
        )?;
        let y = layers.last().map_or(x, |layer| layer.output);
        let mut network = Self {
            x,
            y,
            h0,
            c0,
            h_n,
            c_n,
            gradients: None,
            config: config.clone(),
            packing: packing.clone(),
            options: *options,
            parameters: places.parameters,
            tables,
            layers,
            chunks,
            wave_chunks,
            normalised: None,
            deviation: None,
        };
        network.allocate_norm_workspace(program);
        if options.gradients.is_some() {
            if options.parameter_gradients && places.gradients.is_none() {
                return Err(Error::State(
                    "a network with a backward section needs a region for its parameters' gradients",
                ));
            }
            // Where none are wanted nothing is written there.
            let gradients = places.gradients.unwrap_or(places.parameters);
            network.gradients = Some(network.allocate_gradients(program, &sizes, gradients));
        }
        Ok(network)
    }

    /// The configuration.
    pub fn config(&self) -> &RnnConfig {
        &self.config
    }

    /// The packing.
    pub fn packing(&self) -> &Arc<Packing> {
        &self.packing
    }

    /// The final hidden states of the last layer's direction `direction`, `[batch, state size]` in the caller's order: what
    /// a many-to-one head reads.
    pub fn last_hidden(&self, direction: usize) -> Region {
        self.state_region(self.h_n, self.config.layer_count() - 1, direction, false)
    }

    /// The matching part of `gradients.h_n`.
    pub fn last_hidden_gradient(&self, direction: usize) -> Option<Region> {
        let layer = self.config.layer_count() - 1;
        self.gradients
            .map(|gradients| self.state_region(gradients.h_n, layer, direction, false))
    }

    fn allocate_norm_workspace(&mut self, program: &mut Program) {
        if self.config.spec().is_whole_norm() {
            let rows =
                [&self.chunks, &self.wave_chunks].map(|chunks| max_rows(&self.packing, chunks));
            let rows = rows[0].max(rows[1]);
            let units = self.units();
            self.normalised = Some(program.buffer("normalised", rows * units, Role::Workspace));
            self.deviation = Some(program.buffer("deviation", rows, Role::Workspace));
        }
    }

    /// Elements of a row of gates.
    fn units(&self) -> usize {
        self.config.hidden_size() * self.config.spec().slots()
    }

    /// The part of a state tensor at the network's edge that belongs to a layer and direction.
    fn state_region(&self, buffer: BufferId, layer: usize, direction: usize, cell: bool) -> Region {
        let width = self.state_width(cell);
        let index = layer * self.config.directions() + direction;
        Region::from(buffer).at(index * self.packing.batch() * width)
    }

    /// Units of the cell state or of the hidden state.
    fn state_width(&self, cell: bool) -> usize {
        match cell {
            true => self.config.hidden_size(),
            false => self.config.state_size(),
        }
    }

    /// Gates are kept for all steps, or only for the chunk at work.
    fn saves_gates(&self) -> bool {
        self.options.gradients == Some(GradientMode::Save)
    }

    /// Rows of `steps`.
    fn rows(&self, steps: &Range<usize>) -> Range<usize> {
        let offsets = self.packing.offsets();
        offsets[steps.start]..offsets[steps.end]
    }

    /// Where the gates of `rows` lie, for direction `direction`, and the rows that a direction has in the buffer.
    fn gate_place(&self, gates: Region, direction: usize, rows: &Range<usize>) -> Region {
        let (total, first) = match self.saves_gates() {
            true => (self.packing.tokens(), rows.start),
            false => (rows.len(), 0),
        };
        gates.at((direction * total + first) * self.units())
    }

    /// Whether a direction needs the time-reversing table.
    fn reverse_table(&self, direction: usize) -> Option<TableOffset> {
        let reverse = self.config.direction().is_reverse(direction);
        self.tables.reverse.filter(|_| reverse)
    }

    /// The projections of `rows` of a layer's input into `target`, without what follows them.
    fn projection(
        &self,
        (layer, direction): (&Layer, usize),
        rows: &Range<usize>,
        (target, bias): (Region, bool),
    ) -> Gemm {
        let weights = layer.packed.at(direction * layer.layout.len());
        let (input, map) = match self.reverse_table(direction) {
            Some(table) => (layer.input, Some(RowMap::GatherM(table.at(rows.start)))),
            None => (layer.input.at(rows.start * layer.inputs), None),
        };
        Gemm {
            a: Matrix::rows(input, layer.inputs),
            b: Matrix::rows(weights.at(layer.layout.input), self.units()),
            c: Matrix::rows(target, self.units()),
            m: rows.len(),
            n: self.units(),
            k: layer.inputs,
            map,
            bias: bias.then(|| weights.at(layer.layout.input_bias)),
            accumulate: false,
        }
    }

    /// Rows of the caller's order gathered into sorted order, or back.
    fn reorder(
        &self,
        (source, target): (Region, Region),
        table: TableOffset,
        width: usize,
    ) -> GatherRows {
        GatherRows {
            source,
            source_stride: width,
            target,
            target_stride: width,
            table,
            rows: self.packing.batch(),
            width,
        }
    }
}

/// Sizes at the network's edge, checked.
#[derive(Debug)]
struct Sizes {
    x: usize,
    state_h: usize,
    state_c: usize,
}

impl Sizes {
    fn new(config: &RnnConfig, packing: &Packing) -> Result<Self> {
        let rows = config.layer_count() * config.directions();
        let (batch, tokens) = (packing.batch(), packing.tokens());
        // The largest buffers of a layer, so that no later size computation can overflow.
        let all_rows = batch + tokens;
        for (what, width) in [
            (
                "gates of a layer",
                config.hidden_size() * config.spec().slots(),
            ),
            (
                "states of a layer",
                2 * config.state_size() + 2 * config.hidden_size(),
            ),
            (
                "input of a layer",
                config.input_size().max(config.output_size()),
            ),
        ] {
            checked_product(what, &[config.directions(), all_rows, width])?;
        }
        Ok(Self {
            x: checked_product("input", &[tokens, config.input_size()])?,
            state_h: checked_product("state h", &[rows, batch, config.state_size()])?,
            state_c: checked_product("state c", &[rows, batch, config.hidden_size()])?,
        })
    }
}

impl Tables {
    fn new(
        program: &mut Program,
        config: &RnnConfig,
        packing: &Packing,
        options: &NetworkOptions,
    ) -> Self {
        let words = |values: &[usize]| values.iter().map(|&v| v as u32).collect::<Vec<_>>();
        let needs_previous = options.gradients.is_some() && !packing.is_dense();
        let reversed = (0..config.directions()).any(|d| config.direction().is_reverse(d));
        let dropout = config.dropout();
        let drops = options.mode == Mode::Training && dropout.between.max(dropout.input) > 0.0;
        Self {
            offsets: program.table(&words(packing.offsets())),
            order: program.table(&words(packing.order())),
            sorted_of: program.table(&packing.sorted_of()),
            final_rows: program.table(&match options.storage {
                Precision::F32 => packing.final_rows(),
                Precision::F16 => packing.final_running_rows(),
            }),
            previous: needs_previous.then(|| program.table(&packing.previous_rows())),
            reverse: reversed.then(|| program.table(&packing.reverse_rows())),
            sites: drops.then(|| {
                [packing.sequence_of_rows(), packing.step_of_rows()]
                    .map(|rows| program.table(&rows))
            }),
        }
    }
}

/// A product with fewer rows would read its weights too often, wherever its result lies.
const LEAST_NEAR_ROWS: usize = 512;

/// Multiply-adds of a chunk's products below which waking threads for one more chunk costs more than a near cache saves.
const LEAST_NEAR_WORK: usize = 1 << 27;

/// Steps in processing order, cut so that a chunk's rows fit the workspace (which saved gates do not need) and a cache, and
/// where gradients are.
fn chunks(config: &RnnConfig, packing: &Packing, options: &NetworkOptions) -> Vec<Range<usize>> {
    let units = config.directions() * config.hidden_size() * config.spec().slots();
    // The recurrent product's, and about as many of the input's.
    let row_work = units.saturating_mul(2 * config.state_size());
    let least = LEAST_NEAR_ROWS.max(LEAST_NEAR_WORK / row_work);
    let (least, most) = match options.gradients {
        // A chunk's products are added to the weights' gradients: with fewer rows than these have columns, that would be most
        // of what is read and written.
        Some(GradientMode::Save) => (least.max(units / config.directions()), usize::MAX),
        _ => (least, options.chunk_rows),
    };
    let near = (options.near_bytes).map_or(usize::MAX, |bytes| (bytes / (4 * units)).max(least));
    let rows = near.min(most);
    let offsets = packing.offsets();
    let (mut chunks, mut start) = (Vec::new(), 0);
    while start < packing.steps() {
        let limit = offsets[start].saturating_add(rows);
        let fitting = offsets.partition_point(|&offset| offset <= limit) - 1;
        let end = fitting.clamp(start + 1, packing.steps());
        let end = end.min(options.next_cut(start));
        chunks.push(start..end);
        start = end;
    }
    chunks
}

/// Rows of the largest chunk.
fn max_rows(packing: &Packing, chunks: &[Range<usize>]) -> usize {
    let offsets = packing.offsets();
    chunks
        .iter()
        .map(|steps| offsets[steps.end] - offsets[steps.start])
        .max()
        .unwrap_or(0)
}

/// Packing jobs of a layer.
fn packing_jobs(config: &RnnConfig, layer: usize) -> Result<PackingJobs> {
    PackingJobs::new(config, &ParameterLayout::new(config)?, layer)
}
