//! Nodes that do not fit are refused by an error that names both, when they are put together.

use wgpu_rnn::model::{Graph, LayerName, Node, StateNodes};
use wgpu_rnn::nn::{CrossEntropyOptions, Embedding, RecurrentOptions, Rows, Start};
use wgpu_rnn::ops::{PointwiseLossKind, PoolKind};
use wgpu_rnn::{Activation, Direction, Error, ParameterInitial, RnnConfig};

/// A graph with a row a timestep of 3 elements, a row a sequence of 2, and a network.
struct Parts {
    graph: Graph,
    steps: Node,
    other_steps: Node,
    rows: Node,
}

fn parts() -> Parts {
    let mut graph = Graph::new();
    let steps = graph.sequences("steps", 3).unwrap();
    let other_steps = graph.sequences("other", 3).unwrap();
    let rows = graph.input("rows", Rows::Sequences, 2).unwrap();
    Parts {
        graph,
        steps,
        other_steps,
        rows,
    }
}

/// The text of the error, which has to hold all of these.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &[&str]) {
    let error = result.expect_err("this does not fit").to_string();
    for word in words {
        assert!(error.contains(word), "`{error}` does not say `{word}`");
    }
}

#[test]
fn shapes() {
    let Parts {
        mut graph,
        steps,
        other_steps,
        rows,
    } = parts();
    let gru = RnnConfig::gru(4, 5).build().unwrap();
    refused(
        graph.rnn("a", steps, &gru),
        &["a row a timestep", "of 4", "of 3"],
    );
    refused(
        graph.rnn("b", rows, &gru),
        &["a row a timestep", "a row a sequence"],
    );
    refused(graph.add(steps, rows), &["of 3", "of 2"]);
    refused(
        graph.add(steps, other_steps),
        &["time axis 0", "time axis 1"],
    );
    refused(
        graph.concatenate(&[steps, other_steps]),
        &["time axis 0", "time axis 1"],
    );
    refused(graph.concatenate(&[]), &["at least one"]);
    refused(graph.slice(rows, 1..3), &["0..2", "1..3"]);
    refused(graph.slice(rows, 1..1), &["1..1"]);
    refused(
        graph.pool(rows, PoolKind::Mean),
        &["a row a timestep", "a row a sequence"],
    );
    let embedding = Embedding::new(5, 2).unwrap();
    refused(
        graph.embedding("c", steps, embedding),
        &["records of 1", "of 3"],
    );
    let squared = PointwiseLossKind::Squared;
    refused(
        graph.loss(squared, steps, rows),
        &["target", "of 3", "of 2"],
    );
    refused(
        graph.weighted_loss(squared, rows, rows, rows),
        &["weights", "of 1", "of 2"],
    );
    refused(
        graph.cross_entropy(rows, rows, CrossEntropyOptions::default()),
        &["target", "of 1"],
    );
    let weights = CrossEntropyOptions {
        class_weights: Some(vec![1.0; 3]),
        ..CrossEntropyOptions::default()
    };
    refused(
        graph.cross_entropy(rows, rows, weights),
        &["class weights", "2", "3"],
    );
    refused(graph.linear_tied("d", rows, "nothing"), &["nothing"]);
}

#[test]
fn numbers() {
    let Parts {
        mut graph,
        steps,
        rows,
        ..
    } = parts();
    for probability in [1.0, -0.1, f32::NAN] {
        refused(graph.dropout(rows, probability), &["dropout"]);
    }
    refused(graph.layer_norm("a", rows, 0.0), &["epsilon"]);
    refused(graph.linear("b", rows, 0), &["outputs"]);
    refused(graph.linear("c", rows, usize::MAX), &["overflows"]);
    refused(graph.scale(rows, f32::NAN), &["finite"]);
    let alpha = f32::INFINITY;
    refused(graph.activate(rows, Activation::Elu { alpha }), &["finite"]);
    refused(graph.input("d", Rows::One, 0), &["width"]);
    let huber = PointwiseLossKind::Huber { delta: 0.0 };
    refused(graph.loss(huber, rows, rows), &["delta"]);
    let config = RnnConfig::gru(3, 2).build().unwrap();
    let options = RecurrentOptions {
        truncation: Some(0),
        ..RecurrentOptions::default()
    };
    refused(
        graph.rnn_with("e", steps, &config, options, None),
        &["truncation"],
    );
}

#[test]
fn names() {
    let Parts {
        mut graph,
        steps,
        rows,
        ..
    } = parts();
    refused(graph.sequences("steps", 2), &["time axis `steps`"]);
    refused(graph.input("rows", Rows::One, 2), &["input `rows`"]);
    graph.linear("head", rows, 2).unwrap();
    refused(graph.linear("head", rows, 2), &["head.weight", "Shared"]);
    refused(graph.linear(LayerName::Shared("tail"), rows, 2), &["tail"]);
    refused(
        graph.linear(LayerName::Shared("head"), steps, 2),
        &["head.weight", "[2, 2]", "[2, 3]"],
    );
    refused(
        graph.layer_norm(LayerName::Shared("rows"), rows, 1.0),
        &["rows"],
    );
    graph.output("y", rows).unwrap();
    refused(graph.output("y", steps), &["output `y`"]);
    refused(graph.freeze("foot.*"), &["foot.*", "head.weight"]);
    refused(
        graph.initial("foot", ParameterInitial::Constant(1.0)),
        &["foot"],
    );
    let Parts { rows: foreign, .. } = {
        let mut other = parts();
        other.graph.linear("head", other.rows, 2).unwrap();
        other
    };
    refused(graph.linear("new", foreign, 2), &["another graph"]);
}

#[test]
fn states() {
    let Parts {
        mut graph, steps, ..
    } = parts();
    let config = RnnConfig::lstm(3, 4).layers(2).build().unwrap();
    let rnn = graph.rnn("rnn", steps, &config).unwrap();
    let given = RecurrentOptions {
        start: Start::Given,
        ..RecurrentOptions::default()
    };
    let mut start = |options, states| graph.rnn_with("second", steps, &config, options, states);
    refused(start(given, None), &["start"]);
    refused(
        start(RecurrentOptions::default(), Some(rnn.states)),
        &["start"],
    );
    let h_alone = StateNodes {
        c: None,
        ..rnn.states
    };
    refused(start(given, Some(h_alone)), &["3", "2"]);
    let rows = StateNodes {
        h: rnn.last,
        ..rnn.states
    };
    refused(
        start(given, Some(rows)),
        &["initial hidden states", "2 rows a sequence"],
    );
    let reverse = RnnConfig::gru(3, 4)
        .direction(Direction::Reverse)
        .build()
        .unwrap();
    let carried = RecurrentOptions {
        start: Start::Carried,
        ..RecurrentOptions::default()
    };
    refused(
        graph.rnn_with("third", steps, &reverse, carried, None),
        &["direction"],
    );
}

#[test]
fn losses_and_models() {
    refused(Graph::new().build(), &["output", "loss"]);
    let Parts {
        mut graph,
        steps,
        rows,
        ..
    } = parts();
    let y = graph.linear("head", rows, 2).unwrap();
    refused(graph.minimize(y, 1.0), &["loss"]);
    let loss = graph.loss(PointwiseLossKind::Squared, y, rows).unwrap();
    refused(graph.scale(loss, 2.0), &["loss"]);
    refused(graph.minimize(loss, f32::NAN), &["finite"]);
    graph.minimize(loss, 1.0).unwrap();
    refused(graph.minimize(loss, 1.0), &["already"]);
    // A target that is trained has a gradient which the loss does not give.
    let target = graph.linear("target", rows, 2).unwrap();
    let second = graph.loss(PointwiseLossKind::Squared, y, target).unwrap();
    graph.minimize(second, 1.0).unwrap();
    let ids = graph.slice(steps, 0..1).unwrap();
    graph
        .embedding("embedding", ids, Embedding::new(2, 2).unwrap())
        .unwrap();
    refused(
        graph.build(),
        &["input 1", "squared error", "`target`", "stop"],
    );
}
