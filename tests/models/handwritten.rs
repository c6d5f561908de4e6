//! A model's program is the one that an expert writes by hand: the same operations in the same order, the same bits.

use std::sync::Arc;

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::model::{Graph, Model, ModelPlaces, Wanted};
use wgpu_rnn::nn::{Dropout, Embedding, LastStates, Linear, Rows};
use wgpu_rnn::ops::{
    BufferId, MeanSquaredError, PointwiseLoss, PointwiseLossKind, Program, Region, Role, Section,
};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::{Device, Direction, Mode, Packing, RnnConfig};

use crate::support::{devices, ids, numbers};

/// Where a program takes its batch from, and leaves its gradients.
struct Places {
    parameters: BufferId,
    gradients: BufferId,
    x: BufferId,
    target: BufferId,
    loss: Region,
}

const ENTRIES: usize = 9;
const FEATURES: usize = 2;
const INPUTS: usize = 6;
const HIDDEN: usize = 5;
const DROPOUT: f32 = 0.25;
const LENGTHS: [usize; 4] = [4, 1, 6, 3];
const ENTROPY: PointwiseLossKind = PointwiseLossKind::BinaryCrossEntropy {
    positive_weight: 4.0,
};

fn options(device: &dyn Device) -> NetworkOptions {
    NetworkOptions {
        mode: Mode::Training,
        gradients: Some(GradientMode::Save),
        ..NetworkOptions::on(device)
    }
}

fn tickets_config() -> RnnConfig {
    let dropout = wgpu_rnn::Dropout {
        between: DROPOUT,
        ..wgpu_rnn::Dropout::default()
    };
    let builder = RnnConfig::gru(INPUTS, HIDDEN).layers(2).dropout(dropout);
    builder
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap()
}

fn embedding() -> Embedding {
    Embedding::new(ENTRIES, INPUTS - FEATURES)
        .unwrap()
        .features(FEATURES)
}

/// Events with features, a bidirectional network, its last states, dropout, one logit.
fn tickets() -> Model {
    let mut graph = Graph::new();
    let records = graph.sequences("x", 1 + FEATURES).unwrap();
    let x = graph.embedding("embedding", records, embedding()).unwrap();
    let rnn = graph.rnn("rnn", x, &tickets_config()).unwrap();
    let summary = graph.dropout(rnn.last, DROPOUT).unwrap();
    let logits = graph.linear("head", summary, 1).unwrap();
    let labels = graph.input("target", Rows::Sequences, 1).unwrap();
    let loss = graph.loss(ENTROPY, logits, labels).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    graph.build().unwrap()
}

/// The same by hand.
fn tickets_by_hand(device: &dyn Device, packing: &Arc<Packing>, len: usize) -> (Program, Places) {
    let mut program = Program::new();
    let parameters = program.buffer("parameters", len, Role::Input);
    let gradients = program.buffer("gradients", len, Role::Input);
    let (config, embedding) = (tickets_config(), embedding());
    let head = Linear::new(2 * HIDDEN, 1).unwrap();
    let [rnn_at, head_at] = [embedding.parameter_len(), len - head.parameter_len()];
    let [flat, d_flat] = [parameters, gradients].map(Region::from);
    let options = NetworkOptions {
        output_gradient: false,
        ..options(device)
    };
    let (tokens, sequences) = (packing.tokens(), packing.batch());
    let network = Network::new(
        &mut program,
        &config,
        packing,
        &options,
        flat.at(rnn_at),
        Some(d_flat.at(rnn_at)),
    )
    .unwrap();
    let records = program.buffer("records", tokens * (1 + FEATURES), Role::Input);
    embedding.forward(
        &mut program,
        tokens,
        flat,
        (records.into(), network.x.into()),
    );
    network.forward(&mut program).unwrap();
    let states = LastStates::new(&network);
    let summary = program.buffer("summary", sequences * states.width(), Role::Activation);
    states.forward(&mut program, summary.into());
    let drops = (DROPOUT, Mode::Training);
    let dropout = Dropout::of_sequences(&mut program, drops, 0, sequences).unwrap();
    let in_place = (summary.into(), summary.into());
    dropout.forward(&mut program, states.width(), in_place);
    let logits = program.buffer("logits", sequences, Role::Output);
    let places = (summary.into(), logits.into());
    head.forward(&mut program, sequences, flat.at(head_at), places);

    let target = program.buffer("labels", sequences, Role::Input);
    let d_logits = program.buffer("d_logits", sequences, Role::Workspace);
    let loss = program.buffer("loss", 1, Role::Workspace);
    let entropy = PointwiseLoss {
        kind: ENTROPY,
        prediction: logits.into(),
        target: target.into(),
        weights: None,
        gradient: d_logits.into(),
        loss: loss.into(),
        rows: sequences,
        width: 1,
    };
    program.push(Section::Backward, entropy);
    let d_summary = program.buffer("d_summary", sequences * states.width(), Role::Workspace);
    let places = (summary.into(), d_logits.into());
    head.backward_parameters(&mut program, sequences, d_flat.at(head_at), places);
    let places = (d_logits.into(), d_summary.into());
    head.backward_input(&mut program, sequences, flat.at(head_at), places);
    let in_place = (d_summary.into(), d_summary.into());
    dropout.backward(&mut program, states.width(), in_place);
    states.backward(&mut program, d_summary.into()).unwrap();
    network.backward(&mut program).unwrap();
    let d_x = network.gradients.unwrap().x.unwrap();
    embedding.backward(&mut program, tokens, d_flat, (records.into(), d_x.into()));
    let places = Places {
        parameters,
        gradients,
        x: records,
        target,
        loss: loss.into(),
    };
    (program, places)
}

fn forecast_config() -> RnnConfig {
    RnnConfig::lstm(FEATURES, HIDDEN).layers(2).build().unwrap()
}

/// A stack in one direction, its last state, several steps ahead.
fn forecast() -> Model {
    let mut graph = Graph::new();
    let x = graph.sequences("x", FEATURES).unwrap();
    let rnn = graph.rnn("rnn", x, &forecast_config()).unwrap();
    let ahead = graph.linear("head", rnn.last, 3).unwrap();
    let target = graph.input("target", Rows::Sequences, 3).unwrap();
    let loss = graph
        .loss(PointwiseLossKind::Squared, ahead, target)
        .unwrap();
    graph.minimize(loss, 1.0).unwrap();
    graph.build().unwrap()
}

/// The same by hand.
fn forecast_by_hand(device: &dyn Device, packing: &Arc<Packing>, len: usize) -> (Program, Places) {
    let mut program = Program::new();
    let parameters = program.buffer("parameters", len, Role::Input);
    let gradients = program.buffer("gradients", len, Role::Input);
    let [flat, d_flat] = [parameters, gradients].map(Region::from);
    let head = Linear::new(HIDDEN, 3).unwrap();
    let head_at = len - head.parameter_len();
    let options = NetworkOptions {
        input_gradient: false,
        output_gradient: false,
        ..options(device)
    };
    let config = forecast_config();
    let network =
        Network::new(&mut program, &config, packing, &options, flat, Some(d_flat)).unwrap();
    network.forward(&mut program).unwrap();
    let batch = packing.batch();
    let ahead = program.buffer("prediction", batch * 3, Role::Output);
    let places = (network.last_hidden(0), ahead.into());
    head.forward(&mut program, batch, flat.at(head_at), places);
    let target = program.buffer("target", batch * 3, Role::Input);
    let d_ahead = program.buffer("d_prediction", batch * 3, Role::Workspace);
    let loss = program.buffer("loss", 1, Role::Workspace);
    let error = MeanSquaredError {
        prediction: ahead.into(),
        target: target.into(),
        gradient: d_ahead.into(),
        loss: loss.into(),
        len: batch * 3,
    };
    // The graph knows rows and columns, which mean the same.
    let error = PointwiseLoss {
        rows: batch,
        width: 3,
        kind: PointwiseLossKind::Squared,
        prediction: error.prediction,
        target: error.target,
        weights: None,
        gradient: error.gradient,
        loss: error.loss,
    };
    program.push(Section::Backward, error);
    let places = (network.last_hidden(0), d_ahead.into());
    head.backward_parameters(&mut program, batch, d_flat.at(head_at), places);
    let d_state = network.last_hidden_gradient(0).unwrap();
    let places = (d_ahead.into(), d_state);
    head.backward_input(&mut program, batch, flat.at(head_at), places);
    network.backward(&mut program).unwrap();
    let places = Places {
        parameters,
        gradients,
        x: network.x,
        target,
        loss: loss.into(),
    };
    (program, places)
}

/// The program of a model.
fn derived(device: &dyn Device, model: &Model, packing: &Arc<Packing>) -> (Program, Places) {
    let mut program = Program::new();
    let len = model.layout().len();
    let parameters = program.buffer("parameters", len, Role::Input);
    let gradients = program.buffer("gradients", len, Role::Input);
    let places = ModelPlaces {
        parameters: parameters.into(),
        gradients: Some(gradients.into()),
    };
    let shape = wgpu_rnn::nn::BatchShape::of(packing);
    let options = options(device);
    let pushed = model
        .push(&mut program, &shape, &options, places, Wanted::default())
        .unwrap();
    let input = |name| {
        pushed
            .inputs
            .iter()
            .find(|input| input.name == name)
            .unwrap()
            .buffer
    };
    let places = Places {
        parameters,
        gradients,
        x: input("x"),
        target: input("target"),
        loss: pushed.loss.unwrap(),
    };
    (program, places)
}

/// Names of the operations of each section.
fn names(program: &Program) -> Vec<Vec<&'static str>> {
    let sections = Section::ALL.into_iter();
    sections
        .map(|section| {
            program
                .section(section)
                .iter()
                .map(|operation| operation.name())
                .collect()
        })
        .collect()
}

fn activations(program: &Program) -> u64 {
    [
        Role::Activation,
        Role::Workspace,
        Role::Packed,
        Role::Input,
        Role::Output,
    ]
    .map(|role| program.bytes(role))
    .iter()
    .sum()
}

/// Loss and gradients.
fn run(
    device: &dyn Device,
    (program, places): (Program, Places),
    [parameters, x, target]: [&[f32]; 3],
) -> Vec<u32> {
    let mut plan = device.load(program, &[]).unwrap();
    plan.set_seed(5).unwrap();
    plan.write(places.parameters, parameters).unwrap();
    plan.write(places.x, x).unwrap();
    plan.write(places.target, target).unwrap();
    let (mut loss, mut gradients) = (vec![0.0], vec![0.0; parameters.len()]);
    let sections = [Section::Prepare, Section::Forward, Section::Backward];
    let reads = &mut [
        (places.loss.buffer, loss.as_mut_slice()),
        (places.gradients, gradients.as_mut_slice()),
    ];
    plan.run_and_read(&sections, reads).unwrap();
    loss.iter()
        .chain(&gradients)
        .map(|value| value.to_bits())
        .collect()
}

type ByHand = fn(&dyn Device, &Arc<Packing>, usize) -> (Program, Places);

fn compare(model: &Model, by_hand: ByHand, packing: &Arc<Packing>, [x, target]: [&[f32]; 2]) {
    let parameters = model.initial(3).unwrap();
    let len = parameters.data().len();
    let mut all: Vec<Arc<dyn Device>> = vec![Arc::new(CpuDevice::with_threads(1).unwrap())];
    all.extend(devices().iter().cloned());
    for device in all {
        let device = device.as_ref();
        let (hand, graph) = (
            by_hand(device, packing, len),
            derived(device, model, packing),
        );
        assert_eq!(names(&hand.0), names(&graph.0), "{}", device.name());
        assert!(
            activations(&graph.0) <= activations(&hand.0),
            "{}",
            device.name()
        );
        let values = [parameters.data(), x, target];
        let (hand, graph) = (run(device, hand, values), run(device, graph, values));
        assert_eq!(hand, graph, "{}", device.name());
        assert!(graph.iter().any(|bits| *bits != 0));
    }
}

#[test]
fn tickets_is_what_is_written_by_hand() {
    let packing = Arc::new(Packing::new(&LENGTHS).unwrap());
    let tokens = packing.tokens();
    let numbered = ids(1, &[tokens], ENTRIES as u32).concat();
    let features = numbers(2, tokens * FEATURES);
    let rows = numbered.iter().zip(features.chunks(FEATURES));
    let records: Vec<f32> = rows
        .flat_map(|(id, rest)| [*id, rest[0], rest[1]])
        .collect();
    let labels = [1.0, 0.0, 0.0, 1.0];
    compare(&tickets(), tickets_by_hand, &packing, [&records, &labels]);
}

#[test]
fn forecast_is_what_is_written_by_hand() {
    let packing = Arc::new(Packing::dense(5, 4).unwrap());
    let (x, target) = (numbers(1, 20 * FEATURES), numbers(2, 12));
    compare(&forecast(), forecast_by_hand, &packing, [&x, &target]);
}
