//! What networks are compared on.

use std::fmt::Debug;

use wgpu_rnn::Result;
use wgpu_rnn::model::Batch;
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::train::Goal;

/// The inputs of a network: a sample's records, a row a step, and its target.
pub(crate) const RECORDS: &str = "records";
pub(crate) const TARGET: &str = "target";
/// Its output.
pub(crate) const PREDICTION: &str = "prediction";

/// What a network for a problem is like at its two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ends {
    /// Entries of a table and width of its rows, if a record begins with a number that stands for something.
    pub(crate) table: Option<[usize; 2]>,
    /// Scalar features of a record, behind the number.
    pub(crate) features: usize,
    pub(crate) outputs: usize,
    pub(crate) loss: PointwiseLossKind,
    /// What the head's bias begins with, if the problem knows better than chance.
    pub(crate) bias: Option<f32>,
    /// Steps over which a cell's gates are to remember at first: see [`Initial::memory`](wgpu_rnn::Initial::memory).
    pub(crate) memory: Option<usize>,
}

/// How much a network is trained, the same for all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    pub(crate) epochs: u64,
    /// Epochs without a better metric after which it stops; 0: none.
    pub(crate) patience: u64,
    /// Adam's largest step size.
    pub(crate) learning_rate: f64,
    /// Whether it falls along half a cosine; else it stays.
    pub(crate) falls: bool,
}

/// A part that is not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It decides which epoch is the best.
    Validation,
    /// It judges in the end.
    HoldOut,
}

/// Sequences with targets, many to one. A sample is a number that the problem gives a meaning.
pub(crate) trait Problem: Debug + Sync {
    /// A word, for files.
    fn name(&self) -> &'static str;
    /// What it is, for people.
    fn about(&self) -> String;
    fn ends(&self) -> Ends;
    fn effort(&self) -> Effort;
    /// An epoch's batches of samples.
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>>;
    /// Timesteps of each sample.
    fn lengths(&self, samples: &[usize]) -> Vec<usize>;
    /// [`RECORDS`] and [`TARGET`] of samples.
    fn batch(&self, samples: &[usize]) -> Result<Batch>;
    fn part(&self, part: Part) -> &[usize];
    /// Names of what predictions are judged by; the first decides.
    fn metrics(&self) -> [&'static str; 2];
    /// Where the first metric shall go.
    fn goal(&self) -> Goal;
    /// The metrics of predictions, `[samples, outputs]`.
    fn judge(&self, samples: &[usize], predictions: &[f32]) -> Result<[f64; 2]>;
    /// Names and metrics on the hold-out of what needs no network.
    fn baselines(&self) -> Result<Vec<(&'static str, [f64; 2])>>;
}
