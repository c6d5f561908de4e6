//! Sequences to packed batches and back.
//!
//! Inside the crate a batch is *packed*: sequences are sorted by length, longest first, and their steps are laid out
//! time-major without padding. Row `offsets[t] + b` holds step `t` of the `b`-th longest sequence; at step `t` the first
//! `batch_sizes[t]` sequences are still running. A kernel that walks the rows costs what the real tokens cost, and
//! padding cannot reach a result because there is none.
//!
//! The reverse direction processes sequence `b` from its own last step to its first. In *processing order* its rows
//! have the same shape; [`Packing::reverse_rows`] is the permutation between the two (its own inverse).

use std::sync::Arc;

use crate::error::{Error, Result, checked_product, with_room};

/// How a set of sequences is laid out: lengths, order and row offsets, without the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    lengths: Vec<usize>,
    order: Vec<usize>,
    offsets: Vec<usize>,
}

impl Packing {
    /// Lays out sequences of the given `lengths`, in any order; zero is a length.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the number of tokens does not fit.
    pub fn new(lengths: &[usize]) -> Result<Self> {
        let steps = lengths.iter().copied().max().unwrap_or(0);
        let total = lengths
            .iter()
            .try_fold(lengths.len(), |sum, &length| sum.checked_add(length));
        if total.is_none_or(|total| total > u32::MAX as usize) {
            return Err(Error::Overflow {
                what: "number of tokens",
                detail: format!("{} sequences of up to {steps} steps", lengths.len()),
            });
        }
        let mut order: Vec<usize> = with_room("order of the sequences", lengths.len())?;
        order.extend(0..lengths.len());
        order.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence]));
        let lengths: Vec<usize> = order.iter().map(|&sequence| lengths[sequence]).collect();
        let mut offsets = with_room("first row of each step", steps + 1)?;
        let (mut row, mut running) = (0, lengths.len());
        for step in 0..=steps {
            offsets.push(row);
            while running > 0 && lengths[running - 1] <= step {
                running -= 1;
            }
            row += running;
        }
        Ok(Self {
            lengths,
            order,
            offsets,
        })
    }

    /// Lays out `batch` sequences of `time` steps each.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the number of tokens does not fit.
    pub fn dense(time: usize, batch: usize) -> Result<Self> {
        // An initial state for each sequence, and its steps.
        checked_product("number of tokens", &[time.saturating_add(1), batch])?;
        let mut lengths = with_room("lengths", batch)?;
        lengths.resize(batch, time);
        Self::new(&lengths)
    }

    /// Number of sequences, those of length zero included.
    pub fn batch(&self) -> usize {
        self.lengths.len()
    }

    /// Steps of the longest sequence.
    pub fn steps(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of real steps of all sequences together.
    pub fn tokens(&self) -> usize {
        self.offsets[self.steps()]
    }

    /// Lengths in sorted order, longest first.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// `order()[b]` is the caller's index of the `b`-th longest sequence.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// First row of each step, and at the end the number of rows.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Sequences still running at `step`.
    pub fn batch_size(&self, step: usize) -> usize {
        self.offsets[step + 1] - self.offsets[step]
    }

    /// Whether all sequences have the same length.
    pub fn is_dense(&self) -> bool {
        self.lengths.first() == self.lengths.last()
    }

    /// The row of step `step` of sorted sequence `sequence`.
    pub fn row(&self, step: usize, sequence: usize) -> usize {
        self.offsets[step] + sequence
    }

    /// For each row `(t, b)` the row `(length[b] - 1 - t, b)`: from input time to the reverse direction's processing
    /// order and back.
    pub fn reverse_rows(&self) -> Vec<u32> {
        self.rows(|step, sequence| self.row(self.lengths[sequence] - 1 - step, sequence))
    }

    /// For each row in processing order the row of the state that it starts from, in a state buffer whose first
    /// `batch()` rows are the initial states and whose row `batch() + r` is the state after row `r`.
    pub fn previous_rows(&self) -> Vec<u32> {
        self.rows(|step, sequence| match step {
            0 => sequence,
            _ => self.batch() + self.row(step - 1, sequence),
        })
    }

    /// For each row the caller's index of its sequence.
    pub fn sequence_of_rows(&self) -> Vec<u32> {
        self.rows(|_, sequence| self.order[sequence])
    }

    /// For each row its step.
    pub fn step_of_rows(&self) -> Vec<u32> {
        self.rows(|step, _| step)
    }

    /// For each sequence *in the caller's order* the row of its final state, in a state buffer as in
    /// [`previous_rows`](Self::previous_rows): the initial state for a sequence of length zero.
    pub fn final_rows(&self) -> Vec<u32> {
        let mut rows = vec![0; self.batch()];
        for (sequence, (&length, &original)) in self.lengths.iter().zip(&self.order).enumerate() {
            rows[original] = match length {
                0 => sequence,
                _ => self.batch() + self.row(length - 1, sequence),
            } as u32;
        }
        rows
    }

    /// The same in running states of two sets of rows, of which each step reads one and writes the other: see
    /// [`Recurrence`](crate::ops::Recurrence).
    pub fn final_running_rows(&self) -> Vec<u32> {
        let mut rows = vec![0; self.batch()];
        for (sequence, (&length, &original)) in self.lengths.iter().zip(&self.order).enumerate() {
            rows[original] = (length % 2 * self.batch() + sequence) as u32;
        }
        rows
    }

    /// `sorted_of()[original]` is the sorted index of the caller's sequence `original`.
    pub fn sorted_of(&self) -> Vec<u32> {
        let mut sorted = vec![0; self.batch()];
        for (sequence, &original) in self.order.iter().enumerate() {
            sorted[original] = sequence as u32;
        }
        sorted
    }

    fn rows(&self, of: impl Fn(usize, usize) -> usize) -> Vec<u32> {
        let mut rows = Vec::with_capacity(self.tokens());
        for step in 0..self.steps() {
            rows.extend((0..self.batch_size(step)).map(|sequence| of(step, sequence) as u32));
        }
        rows
    }
}

/// How a dense batch's axes are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[time, batch, features]`
    TimeFirst,
    /// `[batch, time, features]`
    BatchFirst,
}

impl Layout {
    /// Index of the first feature of (`step`, `sequence`) in a dense tensor of this layout.
    fn index(self, (step, sequence): (usize, usize), [time, batch, features]: [usize; 3]) -> usize {
        features
            * match self {
                Self::TimeFirst => step * batch + sequence,
                Self::BatchFirst => sequence * time + step,
            }
    }
}

/// A packed batch: a [`Packing`] and one row of features for each real step.
///
/// ```
/// use wgpu_rnn::PackedBatch;
/// // Two sequences of one feature, 1 and 3 steps long.
/// let batch = PackedBatch::from_sequences(1, &[vec![9.0], vec![1.0, 2.0, 3.0]])?;
/// assert_eq!(batch.data(), [1.0, 9.0, 2.0, 3.0]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PackedBatch {
    packing: Arc<Packing>,
    features: usize,
    data: Vec<f32>,
}

impl PackedBatch {
    /// Wraps rows that are packed already: `data` is `[tokens, features]` in `packing`'s order.
    ///
    /// # Errors
    /// [`Error::Shape`] if `data` has another length.
    pub fn new(packing: Arc<Packing>, features: usize, data: Vec<f32>) -> Result<Self> {
        let expected = checked_product("packed batch", &[packing.tokens(), features])?;
        if data.len() != expected {
            return Err(Error::shape(
                "packed rows",
                format!("{} tokens x {features} features", packing.tokens()),
                format!("{} values", data.len()),
            ));
        }
        Ok(Self {
            packing,
            features,
            data,
        })
    }

    /// Packs a list of sequences, each `[length, features]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if a sequence's length is no multiple of `features`, or `features` is zero.
    pub fn from_sequences<S: AsRef<[f32]>>(features: usize, sequences: &[S]) -> Result<Self> {
        if features == 0 {
            return Err(Error::shape("features", "at least 1", 0));
        }
        let mut lengths = Vec::with_capacity(sequences.len());
        for (index, sequence) in sequences.iter().enumerate() {
            let values = sequence.as_ref().len();
            if values % features != 0 {
                return Err(Error::shape(
                    format!("sequence {index}"),
                    format!("a multiple of {features} features"),
                    format!("{values} values"),
                ));
            }
            lengths.push(values / features);
        }
        let packing = Arc::new(Packing::new(&lengths)?);
        checked_product("packed batch", &[packing.tokens(), features])?;
        let mut data = Vec::with_capacity(packing.tokens() * features);
        for step in 0..packing.steps() {
            for sequence in 0..packing.batch_size(step) {
                let values = sequences[packing.order()[sequence]].as_ref();
                data.extend_from_slice(&values[step * features..(step + 1) * features]);
            }
        }
        Ok(Self {
            packing,
            features,
            data,
        })
    }

    /// Packs a dense tensor of `shape` `[time, batch, features]` (the sizes, whatever `layout` is). `lengths` gives the
    /// real steps of each sequence; without it all are `time` long. What lies behind a sequence's end is not read.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` has another size, the number of lengths is not the batch's, or a length exceeds
    /// `time`.
    pub fn from_dense(
        values: &[f32],
        shape: [usize; 3],
        layout: Layout,
        lengths: Option<&[usize]>,
    ) -> Result<Self> {
        let [time, batch, features] = shape;
        let expected = checked_product("dense batch", &shape)?;
        if values.len() != expected {
            return Err(Error::shape(
                "dense batch",
                format!("{time} x {batch} x {features} = {expected} values"),
                format!("{} values", values.len()),
            ));
        }
        let packing = Arc::new(match lengths {
            None => Packing::dense(time, batch)?,
            Some(lengths) => {
                if lengths.len() != batch {
                    return Err(Error::shape("lengths", batch, lengths.len()));
                }
                if let Some(index) = lengths.iter().position(|&length| length > time) {
                    return Err(Error::shape(
                        format!("length of sequence {index}"),
                        format!("at most {time} steps"),
                        lengths[index],
                    ));
                }
                Packing::new(lengths)?
            }
        });
        let mut data = Vec::with_capacity(packing.tokens() * features);
        for step in 0..packing.steps() {
            for sequence in 0..packing.batch_size(step) {
                let at = layout.index((step, packing.order()[sequence]), shape);
                data.extend_from_slice(&values[at..at + features]);
            }
        }
        Ok(Self {
            packing,
            features,
            data,
        })
    }

    /// Like [`from_dense`](Self::from_dense) for lengths that come as signed integers, as file formats store them.
    ///
    /// # Errors
    /// Also [`Error::Shape`] for a negative length.
    pub fn from_dense_signed(
        values: &[f32],
        shape: [usize; 3],
        layout: Layout,
        lengths: &[i32],
    ) -> Result<Self> {
        let lengths = lengths
            .iter()
            .enumerate()
            .map(|(index, &length)| {
                usize::try_from(length).map_err(|_| {
                    Error::shape(
                        format!("length of sequence {index}"),
                        "0 or more steps",
                        length,
                    )
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Self::from_dense(values, shape, layout, Some(&lengths))
    }

    /// The layout of the rows.
    pub fn packing(&self) -> &Arc<Packing> {
        &self.packing
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The rows, `[tokens, features]`.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The rows without their packing.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The rows of each sequence in the caller's order, each `[length, features]`.
    pub fn to_sequences(&self) -> Vec<Vec<f32>> {
        let mut sequences = vec![Vec::new(); self.packing.batch()];
        for step in 0..self.packing.steps() {
            for sequence in 0..self.packing.batch_size(step) {
                sequences[self.packing.order()[sequence]]
                    .extend_from_slice(self.row(step, sequence));
            }
        }
        sequences
    }

    /// A dense tensor of `time` steps (at least the longest sequence's), zero behind each sequence's end.
    ///
    /// # Errors
    /// [`Error::Shape`] if `time` is shorter than the longest sequence.
    pub fn to_dense(&self, time: usize, layout: Layout) -> Result<Vec<f32>> {
        if time < self.packing.steps() {
            return Err(Error::shape(
                "time of the dense tensor",
                format!("at least {} steps", self.packing.steps()),
                time,
            ));
        }
        let shape = [time, self.packing.batch(), self.features];
        let mut values = vec![0.0; checked_product("dense batch", &shape)?];
        for step in 0..self.packing.steps() {
            for sequence in 0..self.packing.batch_size(step) {
                let at = layout.index((step, self.packing.order()[sequence]), shape);
                values[at..at + self.features].copy_from_slice(self.row(step, sequence));
            }
        }
        Ok(values)
    }

    fn row(&self, step: usize, sequence: usize) -> &[f32] {
        let at = self.packing.row(step, sequence) * self.features;
        &self.data[at..at + self.features]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_ragged_packing() {
        let packing = Packing::new(&[1, 0, 3]).unwrap();
        assert_eq!(packing.order(), [2, 0, 1]);
        assert_eq!(packing.offsets(), [0, 2, 3, 4]);
        assert_eq!(packing.reverse_rows(), [3, 1, 2, 0]);
        assert_eq!(packing.previous_rows(), [0, 1, 3, 5]);
        assert_eq!(packing.final_rows(), [3 + 1, 2, 3 + 3]);
        assert_eq!(packing.final_running_rows(), [3 + 1, 2, 3]);
        assert_eq!(packing.sorted_of(), [1, 2, 0]);
        assert_eq!(packing.sequence_of_rows(), [2, 0, 2, 2]);
        assert_eq!(packing.step_of_rows(), [0, 0, 1, 2]);
    }

    #[test]
    fn empty_packings() {
        for lengths in [vec![], vec![0], vec![0, 0]] {
            let packing = Packing::new(&lengths).unwrap();
            assert_eq!((packing.steps(), packing.tokens()), (0, 0));
            assert_eq!(packing.batch(), lengths.len());
        }
    }

    #[test]
    fn dense_round_trips() {
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        for layout in [Layout::TimeFirst, Layout::BatchFirst] {
            let batch = PackedBatch::from_dense(&values, [3, 4, 2], layout, None).unwrap();
            assert_eq!(batch.to_dense(3, layout).unwrap(), values);
            let ragged =
                PackedBatch::from_dense(&values, [3, 4, 2], layout, Some(&[2, 0, 3, 1])).unwrap();
            let again = PackedBatch::from_sequences(2, &ragged.to_sequences()).unwrap();
            assert_eq!(again, ragged);
        }
    }
}
