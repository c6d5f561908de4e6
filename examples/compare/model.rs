//! Any of the networks on any of the problems: perhaps an embedding, the recurrent layers, dropout on their final states, a linear
//! head.

use wgpu_rnn::model::{Graph, Model};
use wgpu_rnn::nn::{Embedding, RecurrentOptions, Rows};
use wgpu_rnn::{Initial, ParameterInitial, Result};

use crate::choice::Choice;
use crate::problem::{Ends, PREDICTION, RECORDS, TARGET};

/// The network `choice` for a problem with these ends.
pub(crate) fn model(choice: &Choice, ends: &Ends) -> Result<Model> {
    let mut graph = Graph::new();
    let width = ends.features + usize::from(ends.table.is_some());
    let mut x = graph.sequences(RECORDS, width)?;
    if let Some([entries, width]) = ends.table {
        let embedding = Embedding::new(entries, width)?.features(ends.features);
        x = graph.embedding("embedding", x, embedding)?;
    }
    let config = choice.config(graph.shape(x)?.width)?;
    let initial = Initial {
        memory: ends.memory,
        ..Initial::default()
    };
    let options = RecurrentOptions {
        initial: Some(initial),
        ..RecurrentOptions::default()
    };
    let rnn = graph.rnn_with("rnn", x, &config, options, None)?;
    let summary = graph.dropout(rnn.last, choice.head_dropout())?;
    let prediction = graph.linear("head", summary, ends.outputs)?;
    graph.output(PREDICTION, prediction)?;
    if let Some(bias) = ends.bias {
        graph.initial("head.bias", ParameterInitial::Constant(bias))?;
    }

    let target = graph.input(TARGET, Rows::Sequences, ends.outputs)?;
    let loss = graph.loss(ends.loss, prediction, target)?;
    graph.minimize(loss, 1.0)?;
    graph.build()
}
