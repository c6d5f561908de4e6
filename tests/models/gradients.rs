//! Each layer in a small model: the gradients of all parameters on all devices against finite differences in double precision, in
//! training mode.

use wgpu_rnn::model::{Batch, Graph, Node, RnnNodes, StateNodes};
use wgpu_rnn::nn::{CrossEntropyOptions, Embedding, RecurrentOptions, Rows, Start};
use wgpu_rnn::ops::{PointwiseLossKind, PoolKind};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Activation, Direction, Dropout, RnnConfig};

use crate::support::{check, ids, numbers, ragged};

const LENGTHS: [usize; 4] = [3, 0, 5, 1];
const WIDTH: usize = 3;

/// A model of the layers that `build` puts behind rows of timesteps, with a squared error on what it makes.
fn check_layers(what: &str, build: impl Fn(&mut Graph, Node) -> wgpu_rnn::Result<Node>) {
    let mut graph = Graph::new();
    let x = graph.sequences("x", WIDTH).unwrap();
    // So that a gradient has to reach what lies before.
    let before = graph.linear("before", x, WIDTH).unwrap();
    let y = build(&mut graph, before).unwrap();
    let shape = graph.shape(y).unwrap();
    let target = graph.input("target", shape.rows, shape.width).unwrap();
    let loss = graph.loss(PointwiseLossKind::Squared, y, target).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    let model = graph.build().unwrap();

    let batch = Batch::new()
        .sequences("x", WIDTH, &ragged(1, &LENGTHS, WIDTH))
        .unwrap();
    let batch = match shape.rows {
        Rows::Steps(_) => {
            let targets = ragged(11, &LENGTHS, shape.width);
            batch.sequences("target", shape.width, &targets).unwrap()
        }
        Rows::States(blocks) => {
            batch.rows("target", numbers(12, blocks * LENGTHS.len() * shape.width))
        }
        Rows::Sequences => batch.rows("target", numbers(12, LENGTHS.len() * shape.width)),
        Rows::One => batch.rows("target", numbers(12, shape.width)),
    };
    check(what, &model, &batch);
}

fn bidirectional() -> RnnConfig {
    let builder = RnnConfig::gru(WIDTH, 4).layers(2);
    builder
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap()
}

#[test]
fn linear() {
    check_layers("linear", |graph, x| graph.linear("y", x, 4));
    check_layers("without bias", |graph, x| {
        graph.linear_without_bias("y", x, 4)
    });
}

#[test]
fn recurrent_outputs() {
    for (cell, config) in [
        ("elman", RnnConfig::elman(WIDTH, 4).build().unwrap()),
        ("lstm", RnnConfig::lstm(WIDTH, 4).layers(2).build().unwrap()),
        ("both directions", bidirectional()),
    ] {
        let rnn = |graph: &mut Graph, x| graph.rnn("rnn", x, &config);
        check_layers(&format!("{cell} y"), |graph, x| Ok(rnn(graph, x)?.y));
        check_layers(&format!("{cell} last"), |graph, x| Ok(rnn(graph, x)?.last));
        check_layers(&format!("{cell} h"), |graph, x| Ok(rnn(graph, x)?.states.h));
        if cell == "lstm" {
            let c = |nodes: RnnNodes| nodes.states.c.unwrap();
            check_layers("lstm c", |graph, x| Ok(c(rnn(graph, x)?)));
        }
    }
}

/// All outputs of a network at once: their gradients meet in it.
#[test]
fn all_outputs_of_a_network() {
    for config in [
        RnnConfig::lstm(WIDTH, 4).layers(2).build().unwrap(),
        bidirectional(),
    ] {
        check_layers("all outputs", |graph, x| {
            let rnn = graph.rnn("rnn", x, &config)?;
            let pooled = graph.pool(rnn.y, PoolKind::Mean)?;
            let pooled = graph.linear("of y", pooled, 2)?;
            let last = graph.linear("of last", rnn.last, 2)?;
            let sum = graph.add(pooled, last)?;
            // All final states as they are, into another network.
            let options = RecurrentOptions {
                start: Start::Given,
                ..RecurrentOptions::default()
            };
            let second = graph.rnn_with("second", x, &config, options, Some(rnn.states))?;
            let again = graph.linear("of second", second.last, 2)?;
            graph.add(sum, again)
        });
    }
}

#[test]
fn recomputed_gates_and_cut_gradients() {
    let config = RnnConfig::lstm(WIDTH, 4).layers(2).build().unwrap();
    check_layers("recomputed", |graph, x| {
        let options = RecurrentOptions {
            gradients: GradientMode::Recompute,
            ..RecurrentOptions::default()
        };
        Ok(graph.rnn_with("rnn", x, &config, options, None)?.y)
    });
}

#[test]
fn dropout_of_both_kinds() {
    let dropout = Dropout {
        between: 0.3,
        input: 0.2,
        recurrent: 0.25,
    };
    let config = RnnConfig::gru(WIDTH, 4)
        .layers(2)
        .dropout(dropout)
        .build()
        .unwrap();
    // Two networks draw apart, and so do two layers of dropout.
    check_layers("dropout", |graph, x| {
        let x = graph.dropout(x, 0.4)?;
        let first = graph.rnn("first", x, &config)?;
        let second = graph.rnn("second", x, &config)?;
        let both = graph.concatenate(&[first.last, second.last])?;
        let both = graph.dropout(both, 0.3)?;
        graph.linear("y", both, 2)
    });
}

#[test]
fn layer_norm_and_pooling() {
    check_layers("layer norm", |graph, x| graph.layer_norm("norm", x, 1e-3));
    check_layers("mean", |graph, x| graph.pool(x, PoolKind::Mean));
    check_layers("maximum", |graph, x| graph.pool(x, PoolKind::Max));
}

#[test]
fn arithmetic() {
    check_layers("sum with itself", |graph, x| graph.add(x, x));
    check_layers("square", |graph, x| graph.multiply(x, x));
    check_layers("scale", |graph, x| graph.scale(x, -1.5));
    check_layers("difference", |graph, x| {
        let y = graph.linear("other", x, WIDTH)?;
        graph.subtract(x, y)
    });
    check_layers("gate", |graph, x| {
        let gate = graph.linear("gate", x, WIDTH)?;
        let gate = graph.activate(gate, Activation::Sigmoid)?;
        let value = graph.activate(x, Activation::Tanh)?;
        graph.multiply(gate, value)
    });
    check_layers("columns", |graph, x| {
        let wide = graph.concatenate(&[x, x, x])?;
        let left = graph.slice(wide, 1..4)?;
        let right = graph.slice(wide, 4..7)?;
        graph.multiply(left, right)
    });
}

#[test]
fn every_activation() {
    let alpha = 0.7;
    let beta = 0.3;
    for activation in [
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::Linear,
        Activation::Affine { alpha, beta },
        Activation::LeakyRelu { alpha },
        Activation::ThresholdedRelu { alpha: 0.1 },
        Activation::ScaledTanh { alpha, beta },
        Activation::HardSigmoid { alpha, beta },
        Activation::Elu { alpha },
        Activation::Softsign,
        Activation::Softplus,
    ] {
        check_layers(&format!("{activation:?}"), |graph, x| {
            let y = graph.activate(x, activation)?;
            graph.linear("y", y, 2)
        });
    }
}

#[test]
fn embeddings_with_features_and_tied_weights() {
    let mut graph = Graph::new();
    let records = graph.sequences("records", 3).unwrap();
    let embedding = Embedding::new(7, 4)
        .unwrap()
        .table(3, 2)
        .unwrap()
        .features(1);
    let x = graph.embedding("embedding", records, embedding).unwrap();
    let rnn = graph
        .rnn("rnn", x, &RnnConfig::lstm(7, 4).build().unwrap())
        .unwrap();
    let logits = graph
        .linear_tied("head", rnn.y, "embedding.0.weight")
        .unwrap();
    let next = { graph.time_axis("other") }
        .and(graph.shape(rnn.y))
        .unwrap();
    let classes = graph.input("classes", next.rows, 1).unwrap();
    let options = CrossEntropyOptions {
        smoothing: 0.1,
        class_weights: Some(vec![1.0, 2.0, 0.5, 1.0, 0.0, 1.0, 1.5]),
    };
    let loss = graph.cross_entropy(logits, classes, options).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    let model = graph.build().unwrap();

    let (first, second) = (ids(1, &LENGTHS, 7), ids(2, &LENGTHS, 3));
    let features = ragged(3, &LENGTHS, 1);
    let rows = first.iter().zip(&second).zip(&features);
    let records: Vec<Vec<f32>> = rows
        .map(|((first, second), features)| {
            let steps = first.iter().zip(second).zip(features);
            steps.flat_map(|((a, b), c)| [*a, *b, *c]).collect()
        })
        .collect();
    let batch = Batch::new().sequences("records", 3, &records).unwrap();
    let batch = batch.sequences("classes", 1, &ids(4, &LENGTHS, 7)).unwrap();
    check("tied embedding", &model, &batch);
}

/// Several losses of several weights, masked rows, all kinds.
#[test]
fn several_losses() {
    let mut graph = Graph::new();
    let x = graph.sequences("x", WIDTH).unwrap();
    let rnn = graph.rnn("rnn", x, &bidirectional()).unwrap();
    let y = graph.linear("y", rnn.last, 2).unwrap();
    let target = graph.input("target", Rows::Sequences, 2).unwrap();
    let weights = graph.input("weights", Rows::Sequences, 1).unwrap();
    let labels = graph.input("labels", Rows::Sequences, 2).unwrap();
    let class = graph.input("class", Rows::Sequences, 1).unwrap();
    let huber = PointwiseLossKind::Huber { delta: 0.5 };
    let entropy = PointwiseLossKind::BinaryCrossEntropy {
        positive_weight: 3.0,
    };
    for (kind, target, factor) in [
        (PointwiseLossKind::Squared, target, 0.5),
        (PointwiseLossKind::Absolute, target, 2.0),
        (huber, target, -0.25),
        (entropy, labels, 1.0),
    ] {
        let loss = graph.weighted_loss(kind, y, target, weights).unwrap();
        graph.minimize(loss, factor).unwrap();
    }
    let options = CrossEntropyOptions::default();
    let loss = graph
        .weighted_cross_entropy(y, class, weights, options)
        .unwrap();
    graph.minimize(loss, 0.3).unwrap();
    let model = graph.build().unwrap();
    let batch = Batch::new()
        .sequences("x", WIDTH, &ragged(1, &LENGTHS, WIDTH))
        .unwrap()
        // The second row is masked: it may hold anything.
        .rows(
            "target",
            [numbers(2, 2), vec![f32::NAN; 2], numbers(3, 4)].concat(),
        )
        .rows("weights", vec![1.0, 0.0, 2.5, 0.5])
        .rows("labels", vec![0.0, 1.0, f32::NAN, 0.0, 0.25, 1.0, 1.0, 0.0])
        .rows("class", vec![1.0, -1.0, 0.0, 1.0]);
    check("several losses", &model, &batch);
}

/// An encoder whose states, projected, are where a decoder starts, on two time axes of other lengths.
#[test]
fn two_time_axes() {
    let mut graph = Graph::new();
    let source = graph.sequences("source", WIDTH).unwrap();
    let encoder = RnnConfig::lstm(WIDTH, 4).layers(2).build().unwrap();
    let encoded = graph.rnn("encoder", source, &encoder).unwrap();
    let states = StateNodes {
        h: graph.linear("bridge h", encoded.states.h, 5).unwrap(),
        c: Some(
            graph
                .linear("bridge c", encoded.states.c.unwrap(), 5)
                .unwrap(),
        ),
    };
    let target = graph.sequences("target", 2).unwrap();
    let decoder = RnnConfig::lstm(2, 5).layers(2).build().unwrap();
    let options = RecurrentOptions {
        start: Start::Given,
        ..RecurrentOptions::default()
    };
    let decoded = graph
        .rnn_with("decoder", target, &decoder, options, Some(states))
        .unwrap();
    let logits = graph.linear("head", decoded.y, 4).unwrap();
    let rows = graph.shape(logits).unwrap().rows;
    let classes = graph.input("classes", rows, 1).unwrap();
    let loss = graph
        .cross_entropy(logits, classes, CrossEntropyOptions::default())
        .unwrap();
    graph.minimize(loss, 1.0).unwrap();
    let model = graph.build().unwrap();
    let targets = [2, 4, 0, 3];
    let batch = Batch::new()
        .sequences("source", WIDTH, &ragged(1, &LENGTHS, WIDTH))
        .and_then(|batch| batch.sequences("target", 2, &ragged(2, &targets, 2)))
        .and_then(|batch| batch.sequences("classes", 1, &ids(3, &targets, 4)))
        .unwrap();
    check("encoder and decoder", &model, &batch);
}

/// A model without timesteps is a model, too.
#[test]
fn rows_alone() {
    let mut graph = Graph::new();
    let x = graph.input("x", Rows::Sequences, WIDTH).unwrap();
    let hidden = graph.linear("hidden", x, 5).unwrap();
    let hidden = graph.activate(hidden, Activation::Tanh).unwrap();
    let y = graph.linear("y", hidden, 1).unwrap();
    let target = graph.input("target", Rows::Sequences, 1).unwrap();
    let loss = graph.loss(PointwiseLossKind::Squared, y, target).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    let batch = Batch::new()
        .rows("x", numbers(1, 4 * WIDTH))
        .rows("target", numbers(2, 4));
    check("rows", &graph.build().unwrap(), &batch);
}
