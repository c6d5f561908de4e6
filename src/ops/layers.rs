//! What stands before and behind a recurrent network: embeddings, pooling over time.

use std::sync::Arc;

use crate::batch::Packing;
use crate::error::{Error, Result};
use crate::ops::{Region, TableOffset};

/// Whole numbers up to this are exact in `f32`, so it bounds ids, classes and steps.
pub const MOST_WHOLE: usize = 1 << 24;

/// Some columns of a matrix: of each row `width` contiguous elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Their first element in row 0.
    pub region: Region,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Rows of an embedding table, beside columns that are copied:
/// `target[r] = table[ids[r]] | features[r]`, written to the first `width + features.width` elements of each target row.
///
/// Ids are whole numbers in `f32`, exact as long as `entries` is at most 2^24. A number that is no id of the table (a
/// fraction, negative, too large, NaN) reads nothing: its embedding is zeros.
/// [`nn::Embedding::check`](crate::nn::Embedding::check) finds such on the host.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingRows {
    /// `[entries, width]`
    pub table: Region,
    /// Rows of the table.
    pub entries: usize,
    /// Elements of an embedding.
    pub width: usize,
    /// The id of row 0.
    pub ids: Region,
    /// Elements from one id to the next.
    pub ids_stride: usize,
    /// What is copied behind the embedding, one row for each id.
    pub features: Option<Columns>,
    /// `[rows, target_stride]`
    pub target: Region,
    /// Elements from one target row to the next.
    pub target_stride: usize,
    /// Rows to write.
    pub rows: usize,
}

impl EmbeddingRows {
    /// Elements that are written of each target row.
    pub fn written(&self) -> usize {
        self.width + self.features.map_or(0, |features| features.width)
    }

    /// Checks the sizes that the buffers do not tell.
    ///
    /// # Errors
    /// [`Error::Option`] for more entries than `f32` holds ids of; [`Error::State`] if target rows overlap.
    pub fn validate(&self) -> Result<()> {
        validate_entries(self.entries)?;
        match self.target_stride < self.written() {
            true => Err(Error::State("rows of embeddings overlap in their target")),
            false => Ok(()),
        }
    }
}

/// The backward of [`EmbeddingRows`]:
/// `target[e] = (accumulate ? target[e] : 0) + sum over rows r with ids[r] = e of gradient[r]`, in a fixed order.
/// Rows whose number is no id add nothing.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingRowsBackward {
    /// The gradient of the embeddings: `width` elements of each row.
    pub gradient: Columns,
    /// As in the forward.
    pub ids: Region,
    /// As in the forward.
    pub ids_stride: usize,
    /// Gradient of the table, `[entries, width]`.
    pub target: Region,
    /// Rows of the table.
    pub entries: usize,
    /// Rows that are summed.
    pub rows: usize,
    /// Adds to the target instead of replacing it.
    pub accumulate: bool,
}

impl EmbeddingRowsBackward {
    /// Checks the sizes that the buffers do not tell.
    ///
    /// # Errors
    /// [`Error::Option`] for more entries than `f32` holds ids of.
    pub fn validate(&self) -> Result<()> {
        validate_entries(self.entries)
    }
}

fn validate_entries(entries: usize) -> Result<()> {
    match entries {
        0..=MOST_WHOLE => Ok(()),
        _ => Err(Error::option(
            "entries",
            format!("must be at most {MOST_WHOLE}, beyond which f32 does not hold every id"),
        )),
    }
}

/// How [`PoolRows`] makes one row of a sequence's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The mean of each column.
    Mean,
    /// The maximum of each column.
    Max,
}

/// Pools over time: `target[sequence] = mean or max over the real steps of the sequence of source[row]`, column by column.
/// A sequence without steps gives zeros. As PyTorch's, a maximum with a NaN among its values is NaN.
#[derive(Debug, Clone)]
pub struct PoolRows {
    /// Mean or maximum.
    pub kind: PoolKind,
    /// `[tokens, width]`, packed.
    pub source: Region,
    /// `[batch, width]` in the caller's order of sequences.
    pub target: Region,
    /// For [`PoolKind::Max`]: `[batch, width]`, the first step that has the maximum, for the backward.
    pub winners: Option<Region>,
    /// Columns.
    pub width: usize,
    /// How the rows are packed.
    pub packing: Arc<Packing>,
    /// The sorted index of each sequence: [`Packing::sorted_of`], `batch` words.
    pub sorted_of: TableOffset,
}

impl PoolRows {
    /// Checks what the buffers do not tell.
    ///
    /// # Errors
    /// [`Error::State`] if the winners do not go with the kind; [`Error::Shape`] for more steps than `f32` holds.
    pub fn validate(&self) -> Result<()> {
        validate_pool(self.kind, self.winners, &self.packing)
    }
}

/// The backward of [`PoolRows`]: of a mean each step of a sequence receives its share, of a maximum the first step that
/// has it receives all. Every row of `target` is written.
#[derive(Debug, Clone)]
pub struct PoolRowsBackward {
    /// Mean or maximum.
    pub kind: PoolKind,
    /// `[batch, width]`
    pub gradient: Region,
    /// For [`PoolKind::Max`]: as written by the forward.
    pub winners: Option<Region>,
    /// `[tokens, width]`, packed.
    pub target: Region,
    /// Columns.
    pub width: usize,
    /// How the rows are packed.
    pub packing: Arc<Packing>,
}

impl PoolRowsBackward {
    /// Checks what the buffers do not tell.
    ///
    /// # Errors
    /// As [`PoolRows::validate`].
    pub fn validate(&self) -> Result<()> {
        validate_pool(self.kind, self.winners, &self.packing)
    }
}

fn validate_pool(kind: PoolKind, winners: Option<Region>, packing: &Packing) -> Result<()> {
    if (kind == PoolKind::Max) != winners.is_some() {
        return Err(Error::State(
            "pooling by the maximum needs a region for the winning steps, by the mean none",
        ));
    }
    match packing.steps() {
        0..=MOST_WHOLE => Ok(()),
        steps => Err(Error::shape(
            "steps of a pooled sequence",
            format!("at most {MOST_WHOLE}"),
            steps,
        )),
    }
}
