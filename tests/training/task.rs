//! A small task: the mean of a sequence's values, by a GRU with dropout and a linear head.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{RngExt, SeedableRng};
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::model::{Batch, Graph, Model, Predictor};
use wgpu_rnn::nn::{
    BackwardPlaces, ForwardPlaces, Layer, NodeShape, PushedLayer, Rows, expect_inputs,
};
use wgpu_rnn::ops::{PointwiseLossKind, Region};
use wgpu_rnn::train::Task;
use wgpu_rnn::{Dropout, Result, RnnConfig};

/// A GRU of 6 units in two layers, dropout, a head on its last state; what it predicts is watched by `counter`.
fn model(dropout: f32, counter: Counter) -> Result<Model> {
    let between = Dropout {
        between: dropout,
        ..Dropout::default()
    };
    let config = RnnConfig::gru(1, 6).layers(2).dropout(between).build()?;
    let mut graph = Graph::new();
    let x = graph.sequences("x", 1)?;
    let rnn = graph.rnn("rnn", x, &config)?;
    let summary = graph.dropout(rnn.last, dropout)?;
    let y = graph.linear("head", summary, 1)?;
    let y = graph.layer("counter", Arc::new(counter), &[y])?[0];
    graph.output("mean", y)?;
    let target = graph.input("target", Rows::Sequences, 1)?;
    let loss = graph.loss(PointwiseLossKind::Squared, y, target)?;
    graph.minimize(loss, 1.0)?;
    graph.build()
}

#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) model: Model,
    sequences: Vec<Vec<f32>>,
    targets: Vec<f32>,
    /// Sequences of a batch of the same length; none: batches by length.
    even: Option<usize>,
    /// How many programs were made.
    pub(crate) pushed: Arc<AtomicUsize>,
}

impl Means {
    /// Sequences of 1 to 9 values.
    pub(crate) fn ragged(count: usize, dropout: f32) -> Self {
        Self::new(count, dropout, None)
    }

    /// Sequences of 5 values, in batches of `each`.
    pub(crate) fn even(count: usize, each: usize) -> Self {
        Self::new(count, 0.0, Some(each))
    }

    fn new(count: usize, dropout: f32, even: Option<usize>) -> Self {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let sequences: Vec<Vec<f32>> = (0..count)
            .map(|n| {
                let len = if even.is_some() { 5 } else { 1 + n % 9 };
                (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
            })
            .collect();
        let mean = |values: &Vec<f32>| values.iter().sum::<f32>() / values.len() as f32;
        let pushed = Arc::new(AtomicUsize::new(0));
        Self {
            model: model(dropout, Counter(pushed.clone())).unwrap(),
            targets: sequences.iter().map(mean).collect(),
            sequences,
            even,
            pushed,
        }
    }

    /// The same with a value that is not a number.
    pub(crate) fn spoiled(mut self) -> Self {
        self.sequences[1][0] = f32::NAN;
        self
    }
}

impl Task for Means {
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let all: Vec<usize> = (0..self.sequences.len()).collect();
        if let Some(each) = self.even {
            return Ok(all.chunks(each).map(<[usize]>::to_vec).collect());
        }
        let options = BatchOptions {
            token_budget: 40,
            seed: 3,
            ..BatchOptions::default()
        };
        let lengths: Vec<usize> = self.sequences.iter().map(Vec::len).collect();
        Ok(LengthBatches::new(&lengths, options)?.epoch(epoch))
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        let sequences: Vec<&[f32]> = { samples.iter() }
            .map(|&at| self.sequences[at].as_slice())
            .collect();
        let targets = samples.iter().map(|&at| self.targets[at]).collect();
        Ok(Batch::new()
            .sequences("x", 1, &sequences)?
            .rows("target", targets))
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["RMSE", "bias"]
    }

    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>> {
        let samples: Vec<usize> = (0..self.sequences.len()).collect();
        let outputs = predictor.run(&self.batch(&samples)?)?;
        let means = outputs.get("mean")?;
        let errors = || {
            let pairs = means.iter().zip(&self.targets);
            let finite = pairs.filter(|(mean, _)| mean.is_finite());
            finite.map(|(mean, target)| f64::from(mean - target))
        };
        let count = errors().count() as f64;
        let square = errors().map(|error| error * error).sum::<f64>() / count;
        Ok(vec![square.sqrt(), errors().sum::<f64>() / count])
    }
}

/// A layer of the user's own: it hands on what it reads, and counts the training programs that it was pushed to.
#[derive(Debug)]
struct Counter(Arc<AtomicUsize>);

#[derive(Debug)]
struct PushedCounter(Region);

impl Layer for Counter {
    fn kind(&self) -> &'static str {
        "counter"
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        Ok(vec![*x])
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        self.0
            .fetch_add(places.has_backward().into(), Ordering::Relaxed);
        Ok(Box::new(PushedCounter(places.inputs[0].region)))
    }
}

impl PushedLayer for PushedCounter {
    fn outputs(&self) -> Vec<Region> {
        vec![self.0]
    }

    fn is_alias(&self, _: usize) -> bool {
        true
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        if let Some(gradient) = places.output(0) {
            places.pass(0, gradient);
        }
        Ok(())
    }
}
