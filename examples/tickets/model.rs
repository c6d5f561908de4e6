//! The forecaster: embedding of the events, a recurrent network in both directions, its last states, a linear head.
//!
//! Gradients are cut every so many events (truncated backpropagation), in each direction; the forward reads whole tickets.

use wgpu_rnn::model::{Graph, Model};
use wgpu_rnn::nn::{Embedding, RecurrentOptions, Rows};
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::{Direction, Dropout, Initial, ParameterInitial, Result, RnnConfig};

use crate::dataset::{FEATURES, RECORD};

/// Elements of an event's embedding; with its features they enter the recurrent network.
const EMBEDDING: usize = 64 - FEATURES;

/// What a model is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelOptions {
    /// Entries of the vocabulary.
    pub(crate) entries: usize,
    pub(crate) hidden: usize,
    pub(crate) dropout: f32,
    /// Weight of tickets that escalated.
    pub(crate) positive_weight: f32,
    /// Events after which gradients are cut.
    pub(crate) truncation: Option<usize>,
    /// Share of the training part that escalated.
    pub(crate) prevalence: f64,
    pub(crate) seed: u64,
}

/// The model. The embedding of unknown events begins with zeros, since nothing trains it, and the head with the weighted odds of the
/// training part.
pub(crate) fn forecaster(options: ModelOptions) -> Result<Model> {
    let config = RnnConfig::gru(EMBEDDING + FEATURES, options.hidden)
        .layers(2)
        .direction(Direction::BidirectionalConcat)
        .dropout(Dropout {
            between: options.dropout,
            ..Dropout::default()
        })
        .build()?;
    let recurrent = RecurrentOptions {
        truncation: options.truncation,
        initial: Some(Initial::default()),
        ..RecurrentOptions::default()
    };
    let embedding = Embedding::new(options.entries, EMBEDDING)?.features(FEATURES);
    let mut table = embedding.parameters(options.seed);
    table[..EMBEDDING].fill(0.0);
    let positive_weight = options.positive_weight;
    let odds = f64::from(positive_weight) * options.prevalence / (1.0 - options.prevalence);

    let mut graph = Graph::new();
    let records = graph.sequences("records", RECORD)?;
    let x = graph.embedding("embedding", records, embedding)?;
    let rnn = graph.rnn_with("rnn", x, &config, recurrent, None)?;
    let summary = graph.dropout(rnn.last, options.dropout)?;
    let logit = graph.linear("head", summary, 1)?;
    graph.output("logit", logit)?;
    graph.initial("embedding.weight", ParameterInitial::Values(table.into()))?;
    graph.initial("head.bias", ParameterInitial::Constant(odds.ln() as f32))?;

    let label = graph.input("label", Rows::Sequences, 1)?;
    let entropy = PointwiseLossKind::BinaryCrossEntropy { positive_weight };
    let loss = graph.loss(entropy, logit, label)?;
    graph.minimize(loss, 1.0)?;
    graph.build()
}

#[cfg(test)]
mod tests {
    use wgpu_rnn::cpu::CpuDevice;
    use wgpu_rnn::model::{Batch, GradientCheckOptions};

    use super::*;

    /// All of the model's gradients against finite differences; they are not cut here, for a difference knows no cut.
    #[test]
    fn gradients_are_right() {
        let model = forecaster(ModelOptions {
            entries: 4,
            hidden: 3,
            dropout: 0.2,
            positive_weight: 3.0,
            truncation: None,
            prevalence: 0.03,
            seed: 1,
        })
        .unwrap();
        let record = |event: usize| [event as f32, 0.5, -0.25, 1.0];
        let ticket = |events: &[usize]| events.iter().flat_map(|&event| record(event)).collect();
        let tickets: [Vec<f32>; 3] = [ticket(&[1, 3, 2, 1]), ticket(&[2]), ticket(&[3, 1])];
        let batch = Batch::new().sequences("records", RECORD, &tickets).unwrap();
        let batch = batch.rows("label", vec![1.0, 0.0, 0.0]);
        let parameters = model.initial(1).unwrap();
        let options = GradientCheckOptions::default();
        let device = CpuDevice::new().unwrap();
        let report = model
            .check_gradients(&device, &parameters, &batch, &options)
            .unwrap();
        assert!(report.passes(), "{report}");
    }
}
