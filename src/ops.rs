//! The operations that both devices offer, as data.
//!
//! A network is first written down as a [`Program`]: buffers, one table of row indices, and for each [`Section`] a list
//! of [`Operation`]s. Nothing here computes; a device is handed the program once, and then runs its sections as often
//! as asked, without allocating. The CPU device walks the list; the GPU device turns it into dispatches. Either can run
//! any operation, so each is compared with its twin by a program of one operation.
//!
//! Conventions: all tensors are `f32`, row-major, sizes in elements. A [`Region`] is a place in a buffer. No operation
//! may read and write the same buffer, except where its documentation says so.

use std::ops::Range;

use crate::config::CellSpec;
use crate::error::{Error, Result};
use crate::packed::PackedLayout;

/// A buffer of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// A place in a buffer: everything from element `offset` on; the operation's sizes say how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The buffer.
    pub buffer: BufferId,
    /// First element.
    pub offset: usize,
}

impl Region {
    /// The place `elements` further on.
    pub fn at(self, elements: usize) -> Self {
        Self {
            buffer: self.buffer,
            offset: self.offset + elements,
        }
    }
}

impl From<BufferId> for Region {
    fn from(buffer: BufferId) -> Self {
        Self { buffer, offset: 0 }
    }
}

/// A place in the program's table of `u32`: the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableOffset(pub(crate) usize);

impl TableOffset {
    /// The place `words` further on.
    pub fn at(self, words: usize) -> Self {
        Self(self.0 + words)
    }
}

/// What a buffer is for; bytes are reported by role. A caller's buffer can be bound to one that is external, an input or an
/// output when the program is loaded; the two latter are made by the device if none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Bound to a buffer of the caller's when the program is loaded.
    External,
    /// Written by the host before a run.
    Input,
    /// Read by the host after a run.
    Output,
    /// Written by the forward section, read by the backward section.
    Activation,
    /// Of no interest outside one section.
    Workspace,
    /// Weights in the kernels' layout, and their gradients.
    Packed,
}

/// A buffer's name, size and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferSpec {
    /// For logs, profiles and errors.
    pub label: &'static str,
    /// Elements.
    pub len: usize,
    /// What it is for.
    pub role: Role,
}

/// The parts of a program that are run by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// Packs the weights; once for each version of them.
    Prepare,
    /// From the inputs to the outputs.
    Forward,
    /// From the outputs' gradients to all others.
    Backward,
    /// From the parameters' gradients to new parameters.
    Update,
}

impl Section {
    /// All sections in the order of a training step.
    pub const ALL: [Self; 4] = [Self::Prepare, Self::Forward, Self::Backward, Self::Update];
}

/// Words of the table that hold the random seed, low word first.
pub const SEED_WORDS: usize = 2;

/// Buffers, table and operations of a network.
#[derive(Debug, Clone, Default)]
pub struct Program {
    buffers: Vec<BufferSpec>,
    table: Vec<u32>,
    sections: [Vec<Operation>; 4],
}

impl Role {
    /// Whether a caller's buffer may be bound to it.
    pub(crate) fn is_bindable(self) -> bool {
        matches!(self, Self::External | Self::Input | Self::Output)
    }
}

impl Program {
    /// An empty program; the table holds the seed words.
    pub fn new() -> Self {
        Self {
            table: vec![0; SEED_WORDS],
            ..Self::default()
        }
    }

    /// Adds a buffer. A device makes it at least one element long and fills it with zeros when the program is loaded.
    pub fn buffer(&mut self, label: &'static str, len: usize, role: Role) -> BufferId {
        self.buffers.push(BufferSpec { label, len, role });
        BufferId(self.buffers.len() - 1)
    }

    /// Appends words to the table.
    pub fn table(&mut self, words: &[u32]) -> TableOffset {
        let offset = self.table.len();
        self.table.extend_from_slice(words);
        TableOffset(offset)
    }

    /// Appends an operation to a section; one that would do nothing is left out.
    pub fn push(&mut self, section: Section, operation: impl Into<Operation>) {
        let operation = operation.into();
        if !operation.is_empty() {
            self.sections[section as usize].push(operation);
        }
    }

    /// All buffers; a [`BufferId`] counts them from 0.
    pub fn buffers(&self) -> &[BufferSpec] {
        &self.buffers
    }

    /// A buffer's specification.
    ///
    /// # Panics
    /// If there is no such buffer because another, larger program gave the id.
    pub fn spec(&self, buffer: BufferId) -> &BufferSpec {
        &self.buffers[buffer.0]
    }

    /// The table's words; the first [`SEED_WORDS`] are the seed.
    pub fn words(&self) -> &[u32] {
        &self.table
    }

    /// The operations of a section.
    pub fn section(&self, section: Section) -> &[Operation] {
        &self.sections[section as usize]
    }

    /// A program of the same ids and tables that does `operations` in its forward section, with `buffers` alone, its own.
    pub(crate) fn only(&self, buffers: &[BufferId], operations: Vec<Operation>) -> Self {
        let keep = |(index, spec): (usize, &BufferSpec)| {
            let kept = buffers.contains(&BufferId(index));
            let external = spec.role.is_bindable();
            BufferSpec {
                len: if kept { spec.len } else { 0 },
                role: if external { Role::Workspace } else { spec.role },
                ..spec.clone()
            }
        };
        let mut program = Self {
            buffers: self.buffers.iter().enumerate().map(keep).collect(),
            table: self.table.clone(),
            sections: Default::default(),
        };
        for operation in operations {
            program.push(Section::Forward, operation);
        }
        program
    }

    /// Bytes of all buffers of one role.
    pub fn bytes(&self, role: Role) -> u64 {
        let of_role = self.buffers.iter().filter(|spec| spec.role == role);
        of_role.map(|spec| 4 * spec.len as u64).sum()
    }

    /// Checks that `buffer` holds exactly `len` elements, for a device's host copies.
    pub(crate) fn check_len(&self, buffer: BufferId, len: usize) -> Result<()> {
        let count = self.buffers.len();
        let spec = self.buffers.get(buffer.0).ok_or_else(|| {
            let expected = format!("one of the program's {count} buffers");
            Error::shape("buffer", expected, format!("number {}", buffer.0))
        })?;
        if spec.len == len {
            Ok(())
        } else {
            Err(Error::shape(spec.label, spec.len, len))
        }
    }
}

/// One operation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operation {
    /// See [`Fill`].
    Fill(Fill),
    /// See [`Elementwise`].
    Elementwise(Elementwise),
    /// See [`StridedCopies`].
    StridedCopies(StridedCopies),
    /// See [`GatherRows`].
    GatherRows(GatherRows),
    /// See [`Gemm`].
    Gemm(Gemm),
    /// See [`ColumnSums`].
    ColumnSums(ColumnSums),
    /// See [`LayerNormRows`].
    LayerNormRows(LayerNormRows),
    /// See [`LayerNormRowsBackward`].
    LayerNormRowsBackward(LayerNormRowsBackward),
    /// See [`MergeDirections`].
    MergeDirections(MergeDirections),
    /// See [`SplitDirections`].
    SplitDirections(SplitDirections),
    /// See [`DropoutRows`].
    DropoutRows(DropoutRows),
    /// See [`Recurrence`].
    RecurrentForward(Recurrence),
    /// See [`RecurrentBackward`].
    RecurrentBackward(RecurrentBackward),
    /// See [`LayerStep`].
    LayerStep(Box<LayerStep>),
    /// See [`MeanSquaredError`].
    MeanSquaredError(MeanSquaredError),
    /// See [`SquaredNorm`].
    SquaredNorm(SquaredNorm),
    /// See [`Adam`].
    Adam(Adam),
}

impl Operation {
    /// The stem of its kernel.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fill(_) => "fill",
            Self::Elementwise(_) => "elementwise",
            Self::StridedCopies(_) => "strided_copies",
            Self::GatherRows(_) => "gather_rows",
            Self::Gemm(_) => "gemm",
            Self::ColumnSums(_) => "column_sums",
            Self::LayerNormRows(_) => "layer_norm_rows",
            Self::LayerNormRowsBackward(_) => "layer_norm_rows_backward",
            Self::MergeDirections(_) => "merge_directions",
            Self::SplitDirections(_) => "split_directions",
            Self::DropoutRows(_) => "dropout_rows",
            Self::RecurrentForward(_) => "recurrent_forward",
            Self::RecurrentBackward(_) => "recurrent_backward",
            Self::LayerStep(_) => "layer_step",
            Self::MeanSquaredError(_) => "mean_squared_error",
            Self::SquaredNorm(_) => "squared_norm",
            Self::Adam(_) => "adam",
        }
    }

    /// Whether it would touch no element.
    fn is_empty(&self) -> bool {
        match self {
            Self::Fill(op) => op.len == 0,
            Self::Elementwise(op) => op.len == 0,
            Self::StridedCopies(op) => op.jobs.is_empty(),
            Self::GatherRows(op) => op.rows * op.width == 0,
            // A product over no terms still writes zeros or the bias.
            Self::Gemm(op) => op.m * op.n == 0 || (op.k == 0 && op.accumulate),
            Self::ColumnSums(op) => op.columns == 0 || (op.rows == 0 && op.accumulate),
            Self::LayerNormRows(op) => op.rows == 0,
            Self::LayerNormRowsBackward(op) => op.rows == 0,
            Self::MergeDirections(op) => op.tokens == 0,
            Self::SplitDirections(op) => op.tokens == 0,
            Self::DropoutRows(op) => op.rows * op.width == 0,
            Self::RecurrentForward(op) => op.steps.is_empty(),
            Self::RecurrentBackward(op) => op.forward.steps.is_empty(),
            Self::LayerStep(op) => op.recurrence.steps.is_empty(),
            Self::MeanSquaredError(op) => op.len == 0,
            Self::SquaredNorm(op) => op.len == 0,
            Self::Adam(op) => op.len == 0,
        }
    }
}

macro_rules! operation_from {
    ($($name:ident),*) => {$(
        impl From<$name> for Operation {
            fn from(operation: $name) -> Self {
                Self::$name(operation)
            }
        }
    )*};
}
operation_from!(
    Fill,
    Elementwise,
    StridedCopies,
    GatherRows,
    Gemm,
    ColumnSums,
    LayerNormRows,
    LayerNormRowsBackward,
    MergeDirections,
    SplitDirections,
    DropoutRows,
    RecurrentBackward,
    MeanSquaredError,
    SquaredNorm,
    Adam
);

/// `target[0..len] = value`
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Where.
    pub target: Region,
    /// How many elements.
    pub len: usize,
    /// What.
    pub value: f32,
}

/// What [`Elementwise`] computes from `a` and `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementwiseKind {
    /// `target = a`
    Copy,
    /// `target += a`
    Accumulate,
    /// `target = a * b`
    Multiply,
}

/// `target[i] = f(a[i], b[i])` for `i < len`. `a` and `b` may be the same buffer; `target`'s buffer must be another.
#[derive(Debug, Clone, Copy)]
pub struct Elementwise {
    /// What is computed.
    pub kind: ElementwiseKind,
    /// First operand.
    pub a: Region,
    /// Second operand of [`ElementwiseKind::Multiply`]; pass `a` where it is not used.
    pub b: Region,
    /// Result.
    pub target: Region,
    /// How many elements.
    pub len: usize,
}

/// One matrix of [`StridedCopies`]: `target[r * ts0 + c * ts1] = source[r * ss0 + c * ss1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyJob {
    /// First element in the source buffer.
    pub source: usize,
    /// First element in the target buffer.
    pub target: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// The source's strides of a row and of a column.
    pub source_strides: [usize; 2],
    /// The target's strides of a row and of a column.
    pub target_strides: [usize; 2],
}

/// Many small strided matrix copies between two buffers in one dispatch: packs weights, unpacks gradients. No two jobs
/// write the same element.
#[derive(Debug, Clone)]
pub struct StridedCopies {
    /// Read.
    pub source: BufferId,
    /// Written.
    pub target: BufferId,
    /// What is copied.
    pub jobs: Vec<CopyJob>,
    /// Adds to the target instead of replacing it.
    pub accumulate: bool,
}

/// `target[i * target_stride + j] = source[rows_table[i] * source_stride + j]`
#[derive(Debug, Clone, Copy)]
pub struct GatherRows {
    /// Read.
    pub source: Region,
    /// Elements from one source row to the next.
    pub source_stride: usize,
    /// Written.
    pub target: Region,
    /// Elements from one target row to the next.
    pub target_stride: usize,
    /// The source row of each target row.
    pub table: TableOffset,
    /// Rows to write.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// A strided matrix: element (row, column) lies at `region.offset + row * strides[0] + column * strides[1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// First element.
    pub region: Region,
    /// Strides of a row and of a column.
    pub strides: [usize; 2],
}

impl Matrix {
    /// Rows of `width` contiguous elements.
    pub fn rows(region: impl Into<Region>, width: usize) -> Self {
        Self {
            region: region.into(),
            strides: [width, 1],
        }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            region: self.region,
            strides: [self.strides[1], self.strides[0]],
        }
    }
}

/// Which index of a [`Gemm`] goes through the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowMap {
    /// Row `i` of `a` is row `table[i]`: a gather of the `m` rows.
    GatherM(TableOffset),
    /// Column `p` of `a` is column `table[p]`: a gather along the contracted dimension.
    GatherK(TableOffset),
    /// Row `i` of `c` is row `table[i]`: a scatter of the result.
    ScatterM(TableOffset),
}

/// `c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n] + bias[n]`. `c`'s buffer differs from `a`'s, `b`'s and `bias`'s.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    /// `[m, k]`
    pub a: Matrix,
    /// `[k, n]`
    pub b: Matrix,
    /// `[m, n]`
    pub c: Matrix,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// An index through the table.
    pub map: Option<RowMap>,
    /// `[n]`, added to every row.
    pub bias: Option<Region>,
    /// Adds to `c` instead of replacing it.
    pub accumulate: bool,
}

/// `target[c] = (accumulate ? target[c] : 0) + sum over r of a[r, c] * (b ? b[r, c] : 1)`. `a` and `b` have rows of
/// `columns` contiguous elements with the given strides. `target` lies in another buffer than both.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSums {
    /// `[rows, columns]`
    pub a: Region,
    /// Elements from one row of `a` to the next.
    pub a_stride: usize,
    /// `[rows, columns]`, multiplied in if given.
    pub b: Option<Region>,
    /// Elements from one row of `b` to the next.
    pub b_stride: usize,
    /// `[columns]`
    pub target: Region,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Adds to the target instead of replacing it.
    pub accumulate: bool,
}

/// Normalises rows in place. A row is `[hidden, slots]`; the slots of `slot_mask` (bit `s` for slot `s`) are normalised
/// together to mean 0 and variance 1 (`epsilon` added to the variance), then scaled and shifted by `scale` and `bias`
/// (`[hidden, slots]` each); the other slots become `bias`. `deviation[row]` receives `1 / sqrt(variance + epsilon)`.
/// With `scale` or `bias` absent, 1 and 0 are used.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormRows {
    /// `[rows, hidden, slots]`, changed in place.
    pub values: Region,
    /// `[rows]`, written.
    pub deviation: Region,
    /// `[hidden, slots]`
    pub scale: Option<Region>,
    /// `[hidden, slots]`
    pub bias: Option<Region>,
    /// Rows.
    pub rows: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Slots of a unit.
    pub slots: usize,
    /// Which slots are normalised together.
    pub slot_mask: u32,
    /// Added to the variance.
    pub epsilon: f32,
}

/// The backward of [`LayerNormRows`]: `normalised` (`[rows, hidden, slots]`, the normalised values before scale and bias)
/// is replaced by the gradient of the raw values,
/// `deviation * (scale * d - mean(scale * d) - normalised * mean(scale * d * normalised))`, where `d` is `gradient` and the
/// means run over the slots of `slot_mask`; the other slots become 0.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormRowsBackward {
    /// Normalised values in, gradient out.
    pub normalised: Region,
    /// `[rows]`, as written by the forward.
    pub deviation: Region,
    /// `[hidden, slots]`
    pub scale: Region,
    /// `[rows, hidden, slots]`
    pub gradient: Region,
    /// Rows.
    pub rows: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Slots of a unit.
    pub slots: usize,
    /// Which slots were normalised together.
    pub slot_mask: u32,
}

/// From the directions' states in processing order to a layer's output in input time, `[tokens, width or 2 * width]`:
/// `output[token] = concat or sum over d of states[d][row_d(token)] (+ residual[token])`, where `row_d(token)` is `token`
/// for a forward direction and `reverse[token]` for a reverse one.
#[derive(Debug, Clone, Copy)]
pub struct MergeDirections {
    /// For each direction the rows, `[tokens, width]` in processing order.
    pub states: [Option<Region>; 2],
    /// Which directions run backwards.
    pub reverse: [bool; 2],
    /// The permutation between input time and the reverse direction's processing order.
    pub table: TableOffset,
    /// `[tokens, output width]`
    pub output: Region,
    /// Added to the output.
    pub residual: Option<Region>,
    /// Rows.
    pub tokens: usize,
    /// State units of a direction.
    pub width: usize,
    /// Adds the two directions instead of concatenating them.
    pub sum: bool,
}

impl MergeDirections {
    /// Elements of an output row.
    pub fn output_width(&self) -> usize {
        if self.states[1].is_some() && !self.sum {
            2 * self.width
        } else {
            self.width
        }
    }
}

/// The backward of [`MergeDirections`] without its residual: from the output's gradient in input time to each
/// direction's rows in processing order (`states` are written, `output` is read).
#[derive(Debug, Clone, Copy)]
pub struct SplitDirections {
    /// For each direction the rows to write, `[tokens, width]` in processing order.
    pub states: [Option<Region>; 2],
    /// Which directions run backwards.
    pub reverse: [bool; 2],
    /// The permutation between input time and the reverse direction's processing order.
    pub table: TableOffset,
    /// The output's gradient, `[tokens, output width]`.
    pub output: Region,
    /// Rows.
    pub tokens: usize,
    /// State units of a direction.
    pub width: usize,
    /// Both directions receive the whole gradient.
    pub sum: bool,
}

/// Which random numbers an element draws; see [`crate::random`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomSite {
    /// Layer.
    pub layer: u32,
    /// Direction; 0 where there is none.
    pub direction: u32,
    /// What the numbers are for.
    pub purpose: RandomPurpose,
}

/// What random numbers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomPurpose {
    /// Dropout between layers.
    Between = 0,
    /// Variational dropout on a layer's input.
    Input = 1,
    /// Variational dropout on the recurrent state.
    Recurrent = 2,
    /// Zoneout of the hidden state.
    ZoneoutHidden = 3,
    /// Zoneout of the cell state.
    ZoneoutCell = 4,
}

impl RandomSite {
    /// The word of the generator's counter that tells sites apart.
    pub fn word(self) -> u32 {
        (self.layer << 4) | (self.direction << 3) | self.purpose as u32
    }
}

/// `target[r, c] = source[r, c] * mask(r, c)`, where the mask is 0 with `probability` and `1 / (1 - probability)` else,
/// drawn from (seed, site, `sequences[r]`, `steps[r]`, `c`); without `steps` the same for all steps of a sequence. With no
/// `source` the mask itself is written. `source` may be the very region `target`, then the change is in place.
#[derive(Debug, Clone, Copy)]
pub struct DropoutRows {
    /// `[rows, width]`
    pub source: Option<Region>,
    /// `[rows, width]`
    pub target: Region,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub width: usize,
    /// The caller's sequence index of each row.
    pub sequences: TableOffset,
    /// The step of each row.
    pub steps: Option<TableOffset>,
    /// Probability of a zero.
    pub probability: f32,
    /// Which numbers.
    pub site: RandomSite,
}

/// Whether zoneout draws or takes the expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropout off, zoneout's expectation.
    Evaluation,
    /// Dropout and zoneout drawn from the seed.
    Training,
}

/// The state rows of a layer. For each direction `h` holds `batch + tokens` rows of the state size: first the initial
/// state of each sorted sequence, then the state after each row in processing order; direction `d` starts at
/// `d * (batch + tokens) * size`. `c` likewise with the hidden size.
#[derive(Debug, Clone, Copy)]
pub struct StateRegions {
    /// `[directions, batch + tokens, state size]`
    pub h: Region,
    /// What enters the recurrent product: `h`, or with recurrent dropout `h * mask` in the same shape elsewhere.
    pub recurrent_input: Region,
    /// `[directions, batch, state size]`, with recurrent dropout.
    pub mask: Option<Region>,
    /// LSTM: `[directions, batch + tokens, hidden]`
    pub c: Option<Region>,
    /// What enters the second product: the LSTM's output before the projection, or the reset-before GRU's
    /// `r * recurrent_input`: `[directions, tokens, hidden]`
    pub second: Option<Region>,
}

/// All timesteps of a layer, both directions, or a chunk of them: the recurrent product and the cell.
///
/// In `gates` it finds the input projections (bias included, except with per-gate normalisation) of rows
/// `offsets[steps.start]..offsets[steps.end]` in processing order, `[directions, gate_rows, hidden, slots]`. It leaves there
/// what this device's backward needs: the *pre-activations* (projections plus recurrent products, with or without peephole
/// terms), or the gates themselves. (With [`LayerNormKind::WholeThenSum`](crate::LayerNormKind) `gates` stays as it is and
/// `recurrent_sums` holds the raw recurrent products.) The reset-before GRU's candidate slot includes its second product.
///
/// All regions of `states` lie in one buffer.
#[derive(Debug, Clone)]
pub struct Recurrence {
    /// What a step computes.
    pub spec: CellSpec,
    /// Layer number, for random sites and labels.
    pub layer: usize,
    /// Hidden units.
    pub hidden: usize,
    /// State units.
    pub state: usize,
    /// Directions.
    pub directions: usize,
    /// Sequences.
    pub batch: usize,
    /// Rows of the whole batch.
    pub tokens: usize,
    /// Rows before each step, `steps + 1` words of the table; also in `offsets` for the host.
    pub offsets_table: TableOffset,
    /// The caller's index of each sorted sequence.
    pub order_table: TableOffset,
    /// Rows before each step of the whole batch.
    pub offsets: std::sync::Arc<crate::batch::Packing>,
    /// Steps in processing order that this operation covers.
    pub steps: Range<usize>,
    /// `[directions, gate_rows, hidden, slots]`
    pub gates: Region,
    /// Rows of a direction in `gates` (and in `recurrent_sums`).
    pub gate_rows: usize,
    /// Row of the batch that lies in row 0 of `gates`.
    pub first_row: usize,
    /// With [`LayerNormKind::WholeThenSum`](crate::LayerNormKind): the raw recurrent products, shaped like `gates`.
    pub recurrent_sums: Option<Region>,
    /// States, read and written.
    pub states: StateRegions,
    /// The layer's packed weights; direction `d` starts at `d * layout.len()`.
    pub weights: BufferId,
    /// Where each part of the packed weights lies.
    pub layout: PackedLayout,
    /// Whether zoneout draws.
    pub mode: Mode,
    /// Whether a backward will want what is left in `gates`; without one they may hold anything.
    pub keeps_gates: bool,
}

impl From<Recurrence> for Operation {
    fn from(operation: Recurrence) -> Self {
        Self::RecurrentForward(operation)
    }
}

/// The backward sweep of a [`Recurrence`] over the same steps, last step first.
///
/// `gates` holds what the forward left there, or what was `rebuilt`, and becomes the gradient of the
/// pre-activations, slot by slot: what the input projections' gradient is computed from. For the reset-after GRU slot `n`
/// is the input side's and slot `q` the recurrent side's. With whole-row normalisation `recurrent_sums` becomes the gradient of the
/// raw recurrent products; with per-gate normalisation `gates` becomes the gradient before normalisation. The
/// weight gradients are matrix products over these, not part of the sweep; the gradients of the packed *vectors* (peepholes, in-cell norm
/// scales and biases) are summed per sequence in `vector_sums`.
///
/// `output_gradient` holds each direction's rows in processing order; with a projection it becomes the gradient of the
/// projection's result (after its clip).
#[derive(Debug, Clone)]
pub struct RecurrentBackward {
    /// The forward operation.
    pub forward: Recurrence,
    /// Whether `gates` (and `recurrent_sums`) were computed anew by matrix products from the states, so that they hold the
    /// sums of projections and recurrent products, whatever the forward would have left.
    pub rebuilt: bool,
    /// `[directions, tokens, state size]`, changed if there is a projection.
    pub output_gradient: Region,
    /// `[directions, batch, state size]`: in, the gradient of each sequence's state after `steps` (of its final state for
    /// a sequence that ends within them); out, that of its state before `steps`.
    pub h_gradient: Region,
    /// LSTM: likewise for the cell state, `[directions, batch, hidden]`. In the same buffer as `h_gradient`.
    pub c_gradient: Option<Region>,
    /// Cells of several stages: `[2, directions, batch, hidden]` of scratch space in the same buffer.
    pub scratch: Option<Region>,
    /// `[directions, batch, layout.vectors_len()]`, added to; in the same buffer as `h_gradient`.
    pub vector_sums: Option<Region>,
}

/// A layer of one forward direction over a batch of single steps, for inference: all that stands around its recurrence. What
/// it does is what its [`parts`](Self::parts) do, except that a device which does them as one may leave alone the states
/// and gates in between, and so may one of these not read what another left there.
#[derive(Debug, Clone)]
pub struct LayerStep {
    /// The initial hidden states, in sorted order into the first rows of the states.
    pub first_h: GatherRows,
    /// LSTM: likewise the cell states.
    pub first_c: Option<GatherRows>,
    /// The input's product, into the gates.
    pub projection: Gemm,
    /// The one step.
    pub recurrence: Recurrence,
    /// The new states as rows of the layer's output; no residual.
    pub output: MergeDirections,
    /// The new states in the caller's order.
    pub last_h: GatherRows,
    /// LSTM: likewise the cell states.
    pub last_c: Option<GatherRows>,
}

impl LayerStep {
    /// What it is made of, in this order.
    pub fn parts(&self) -> Vec<Operation> {
        let mut parts = vec![Operation::from(self.first_h)];
        parts.extend(self.first_c.map(Operation::from));
        parts.extend([
            self.projection.into(),
            self.recurrence.clone().into(),
            self.output.into(),
            self.last_h.into(),
        ]);
        parts.extend(self.last_c.map(Operation::from));
        parts
    }
}

impl From<LayerStep> for Operation {
    fn from(operation: LayerStep) -> Self {
        Self::LayerStep(Box::new(operation))
    }
}

/// Mean squared error and its gradient: `loss[0] = sum((p - t)^2) / len`, `gradient = 2 (p - t) / len`.
#[derive(Debug, Clone, Copy)]
pub struct MeanSquaredError {
    /// `[len]`
    pub prediction: Region,
    /// `[len]`
    pub target: Region,
    /// `[len]`, written.
    pub gradient: Region,
    /// One element, written.
    pub loss: Region,
    /// Elements.
    pub len: usize,
}

/// `target[0] = sum of values[i]^2`, in a fixed order.
#[derive(Debug, Clone, Copy)]
pub struct SquaredNorm {
    /// `[len]`
    pub values: Region,
    /// One element, written.
    pub target: Region,
    /// Elements.
    pub len: usize,
}

/// One step of Adam (Kingma and Ba 2015, PyTorch's form) with clipping by the global norm:
/// `g *= min(1, max_norm / (sqrt(squared_norm) + 1e-6))`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `p -= rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon)`.
///
/// `settings` holds eight elements that the host writes before a step: learning rate, b1, b2, epsilon, `1 - b1^t`,
/// `sqrt(1 - b2^t)`, the largest norm (0: no clipping), and one unused.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// `[len]`, updated.
    pub parameters: Region,
    /// `[len]`
    pub gradients: Region,
    /// `[2, len]`: m, then v; updated.
    pub moments: Region,
    /// Squared norm of all gradients.
    pub squared_norm: Region,
    /// Eight elements.
    pub settings: Region,
    /// Elements.
    pub len: usize,
}
