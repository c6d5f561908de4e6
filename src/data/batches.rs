//! Batches of sequences of like lengths.

use super::order::{Order, Purpose};
use crate::error::{Error, Result};

/// How [`LengthBatches`] gathers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchOptions {
    /// Most tokens of a batch, real ones: packed batches have no others.
    pub token_budget: usize,
    /// Most sequences of a batch.
    pub max_sequences: usize,
    /// The longest length of a bucket over its shortest, at least 1. Nearer to 1, batches are more even and less mixed.
    pub growth: f64,
    /// Of the shuffle.
    pub seed: u64,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            token_budget: 16_384,
            max_sequences: usize::MAX,
            growth: 1.25,
            seed: 0,
        }
    }
}

/// Tokens of batches, and what padding each sequence to its batch's longest would make of them.
///
/// Packed batches compute real tokens only. Like lengths still pay: a batch takes as many steps as its longest sequence,
/// and steps with few running sequences use a device badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Number of batches.
    pub batches: usize,
    /// Steps of all batches, each as many as its longest sequence's.
    pub steps: usize,
    /// Real tokens.
    pub tokens: usize,
    /// Tokens with padding.
    pub padded: usize,
}

impl Padding {
    /// Padding's share of the padded tokens; 0 for none.
    pub fn share(&self) -> f64 {
        match self.padded {
            0 => 0.0,
            padded => (padded - self.tokens) as f64 / padded as f64,
        }
    }

    /// Of `other`'s padding tokens, the share that these batches do without; negative if they have more.
    pub fn saved_against(&self, other: &Self) -> f64 {
        let (own, others) = (self.padded - self.tokens, other.padded - other.tokens);
        match others {
            0 => 0.0,
            _ => 1.0 - own as f64 / others as f64,
        }
    }
}

/// Gathers sequences into batches by length, differently each epoch and the same for the same seed and epoch.
///
/// Lengths fall into buckets whose bounds grow geometrically. An epoch shuffles each bucket, cuts the row of buckets, from
/// short to long, into batches within the token budget, and shuffles the batches.
///
/// ```
/// use wgpu_rnn::data::{BatchOptions, LengthBatches};
///
/// let lengths: Vec<usize> = (0..500).map(|n| 1 + n * n % 97).collect();
/// let options = BatchOptions { token_budget: 512, seed: 1, ..BatchOptions::default() };
/// let batches = LengthBatches::new(&lengths, options)?;
/// let bucketed = batches.padding(&batches.epoch(0));
/// let random = batches.padding(&batches.random_epoch(0));
/// assert!(bucketed.saved_against(&random) > 0.8);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LengthBatches {
    lengths: Vec<usize>,
    /// Bucket of each sequence.
    buckets: Vec<u32>,
    options: BatchOptions,
}

impl LengthBatches {
    /// Prepares batches of sequences of `lengths`, in tokens; zero is a length.
    ///
    /// # Errors
    /// [`Error::Option`] for a budget or a number of sequences of 0 or a growth below 1; [`Error::Data`] if there are no
    /// sequences, or names the first one longer than the budget.
    pub fn new(lengths: &[usize], options: BatchOptions) -> Result<Self> {
        for (option, value) in [
            ("token_budget", options.token_budget),
            ("max_sequences", options.max_sequences),
        ] {
            if value == 0 {
                return Err(Error::option(option, "must be at least 1, got 0"));
            }
        }
        if !(options.growth >= 1.0 && options.growth.is_finite()) {
            return Err(Error::option(
                "growth",
                format!("must be finite and at least 1, got {}", options.growth),
            ));
        }
        if lengths.is_empty() {
            return Err(Error::data("lengths", "at least one sequence", "none"));
        }
        let budget = options.token_budget;
        if let Some(index) = lengths.iter().position(|&length| length > budget) {
            return Err(Error::data(
                format!("length of sequence {index}"),
                format!("at most the token budget of {budget}"),
                lengths[index],
            ));
        }
        Ok(Self {
            buckets: buckets(lengths, options.growth),
            lengths: lengths.to_vec(),
            options,
        })
    }

    /// The options.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Every sequence once, in batches of indices.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        self.gather((0..self.lengths.len()).collect(), epoch)
    }

    /// The sequences of `samples`, such as a sampler's, as often as they are there, in batches of indices.
    ///
    /// # Errors
    /// [`Error::Data`] names the first sample that is no sequence.
    pub fn epoch_of(&self, samples: &[usize], epoch: u64) -> Result<Vec<Vec<usize>>> {
        let len = self.lengths.len();
        match samples.iter().position(|&sample| sample >= len) {
            Some(place) => Err(Error::data(
                format!("sample {place}"),
                format!("the index of one of {len} sequences"),
                samples[place],
            )),
            None => Ok(self.gather(samples.to_vec(), epoch)),
        }
    }

    fn gather(&self, mut samples: Vec<usize>, epoch: u64) -> Vec<Vec<usize>> {
        let seed = self.options.seed;
        Order::new(seed, epoch, Purpose::Sequences).shuffle(&mut samples);
        // Stable: within a bucket the shuffled order stays.
        samples.sort_by_key(|&sample| self.buckets[sample]);
        let mut batches = self.cut(&samples);
        Order::new(seed, epoch, Purpose::Batches).shuffle(&mut batches);
        batches
    }

    /// Every sequence once, regardless of lengths, within the same budget: what bucketing is measured against.
    pub fn random_epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut samples = (0..self.lengths.len()).collect();
        Order::new(self.options.seed, epoch, Purpose::Baseline).shuffle(&mut samples);
        self.cut(&samples)
    }

    /// Cuts a row of sequences into batches within the limits. A sequence of no tokens counts as one.
    fn cut(&self, samples: &[usize]) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for &sample in samples {
            let tokens = self.lengths[sample].max(1);
            match batches.last_mut() {
                Some(batch) if tokens <= room && batch.len() < self.options.max_sequences => {
                    batch.push(sample);
                    room -= tokens;
                }
                _ => {
                    batches.push(vec![sample]);
                    room = self.options.token_budget - tokens;
                }
            }
        }
        batches
    }

    /// Counts the tokens of batches, with and without padding. Indices out of range count as empty sequences.
    pub fn padding(&self, batches: &[Vec<usize>]) -> Padding {
        let mut padding = Padding::default();
        for batch in batches {
            let lengths = batch.iter().filter_map(|&sample| self.lengths.get(sample));
            let longest = lengths.clone().copied().max().unwrap_or(0);
            padding.batches += 1;
            padding.steps += longest;
            padding.tokens += lengths.sum::<usize>();
            padding.padded += longest * batch.len();
        }
        padding
    }
}

/// The number of each length's bucket: a bucket begins at the shortest length left and reaches `growth` times as far.
fn buckets(lengths: &[usize], growth: f64) -> Vec<u32> {
    let mut distinct = lengths.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let mut starts: Vec<usize> = Vec::new();
    for &length in &distinct {
        match starts.last() {
            Some(&start) if length as f64 <= start as f64 * growth => {}
            _ => starts.push(length),
        }
    }
    let bucket = |length: &usize| starts.partition_point(|start| start <= length) as u32;
    lengths.iter().map(bucket).collect()
}
