//! Parameters: names, initial values, sharing, freezing, groups, and what a longer model leaves as it was.

use std::sync::Arc;

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::model::{Batch, Graph, LayerName, Model, ModelParameters, ModelPlaces, Wanted};
use wgpu_rnn::nn::{Embedding, Rows};
use wgpu_rnn::ops::{PointwiseLossKind, Program, Role, Section};
use wgpu_rnn::rnn::{GradientMode, NetworkOptions};
use wgpu_rnn::{
    Device, Direction, Error, Initial, Mode, ParameterInitial, Parameters, RnnConfig, WeightInitial,
};

use crate::support::{check, devices, ids, numbers};

const LENGTHS: [usize; 3] = [2, 4, 1];

fn config() -> RnnConfig {
    RnnConfig::lstm(4, 3)
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap()
}

/// An embedding, an LSTM and a head; `change` sees the graph before it is built.
fn model(change: impl FnOnce(&mut Graph)) -> Model {
    let mut graph = Graph::new();
    let words = graph.sequences("words", 1).unwrap();
    let embedding = Embedding::new(6, 4).unwrap();
    let x = graph.embedding("embedding", words, embedding).unwrap();
    let rnn = graph.rnn("rnn", x, &config()).unwrap();
    let kept = graph.dropout(rnn.last, 0.5).unwrap();
    let y = graph.linear("head", kept, 2).unwrap();
    let target = graph.input("target", Rows::Sequences, 2).unwrap();
    let loss = graph.loss(PointwiseLossKind::Squared, y, target).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    graph.output("y", y).unwrap();
    change(&mut graph);
    graph.build().unwrap()
}

fn batch() -> Batch {
    let batch = Batch::new()
        .sequences("words", 1, &ids(1, &LENGTHS, 6))
        .unwrap();
    batch.rows("target", numbers(2, 6))
}

/// The gradients of a batch, in training mode.
fn gradients(device: &dyn Device, model: &Model, parameters: &ModelParameters) -> Vec<f32> {
    let mut program = Program::new();
    let len = model.layout().len();
    let values = program.buffer("parameters", len, Role::Input);
    let gradients = program.buffer("gradients", len, Role::Input);
    let options = NetworkOptions {
        mode: Mode::Training,
        gradients: Some(GradientMode::Save),
        ..NetworkOptions::on(device)
    };
    let places = ModelPlaces {
        parameters: values.into(),
        gradients: Some(gradients.into()),
    };
    let shape = model.shape_of(&batch()).unwrap();
    let wanted = Wanted::default();
    let pushed = model
        .push(&mut program, &shape, &options, places, wanted)
        .unwrap();
    let mut plan = device.load(program, &[]).unwrap();
    plan.set_seed(3).unwrap();
    plan.write(values, parameters.data()).unwrap();
    for input in &pushed.inputs {
        plan.write(input.buffer, batch().get(&input.name).unwrap())
            .unwrap();
    }
    let mut result = vec![0.0; len];
    let sections = [Section::Prepare, Section::Forward, Section::Backward];
    let reads = &mut [(gradients, result.as_mut_slice())];
    plan.run_and_read(&sections, reads).unwrap();
    result
}

#[test]
fn names_shapes_and_places() {
    let model = model(|_| ());
    let layout = model.layout();
    let names: Vec<(&str, &[usize])> = { layout.parameters().iter() }
        .map(|parameter| (parameter.name.as_str(), parameter.shape.as_slice()))
        .collect();
    assert_eq!(
        names,
        [
            ("embedding.weight", [6, 4].as_slice()),
            ("rnn.weight_ih_l0", &[12, 4]),
            ("rnn.weight_hh_l0", &[12, 3]),
            ("rnn.bias_ih_l0", &[12]),
            ("rnn.bias_hh_l0", &[12]),
            ("rnn.weight_ih_l0_reverse", &[12, 4]),
            ("rnn.weight_hh_l0_reverse", &[12, 3]),
            ("rnn.bias_ih_l0_reverse", &[12]),
            ("rnn.bias_hh_l0_reverse", &[12]),
            ("head.weight", &[2, 6]),
            ("head.bias", &[2]),
        ]
    );
    let mut offset = 0;
    for parameter in layout.parameters() {
        assert_eq!(parameter.offset, offset, "{}", parameter.name);
        offset += parameter.len();
    }
    assert_eq!(layout.len(), offset);
    let biases = layout.ranges(&["rnn.bias*", "head.bias"]).unwrap();
    assert_eq!(biases.len(), 5);
    assert!(layout.ranges(&["rnn.bias*", "tail.*"]).is_err());
}

#[test]
fn initial_values() {
    let bound = |values: &[f32]| {
        values
            .iter()
            .fold(0f32, |most, value| most.max(value.abs()))
    };
    let plain = model(|_| ()).initial(1).unwrap();
    assert!(bound(plain.get("rnn.weight_hh_l0").unwrap()) <= 1.0 / 3f32.sqrt());
    assert!(bound(plain.get("head.weight").unwrap()) <= 1.0 / 6f32.sqrt());
    assert!(bound(plain.get("head.bias").unwrap()) > 0.0);
    let given: Arc<[f32]> = numbers(5, 12).into();
    let changed = model(|graph| {
        graph
            .initial("head.bias", ParameterInitial::Constant(-2.5))
            .unwrap();
        graph
            .initial("head.weight", ParameterInitial::Values(given.clone()))
            .unwrap();
        let orthogonal = ParameterInitial::Matrix {
            weight: WeightInitial::Orthogonal,
            rows: 3,
        };
        graph.initial("rnn.weight_hh*", orthogonal).unwrap();
    });
    let changed = changed.initial(1).unwrap();
    assert_eq!(changed.get("head.bias").unwrap(), [-2.5; 2]);
    assert_eq!(changed.get("head.weight").unwrap(), &*given);
    for gate in changed.get("rnn.weight_hh_l0").unwrap().chunks(9) {
        let square: f32 = gate[..3].iter().map(|value| value * value).sum();
        assert!((square - 1.0).abs() < 1e-5);
    }
    // What was not named begins as before.
    for name in [
        "embedding.weight",
        "rnn.weight_ih_l0",
        "rnn.bias_hh_l0_reverse",
    ] {
        assert_eq!(changed.get(name), plain.get(name), "{name}");
    }
    let misfit = model(|graph| {
        graph
            .initial("head.bias", ParameterInitial::Values(given))
            .unwrap();
    });
    assert!(matches!(misfit.initial(1), Err(Error::Shape { .. })));
}

/// A layer behind a model changes neither the other parameters' initial values nor what is drawn.
#[test]
fn an_appended_layer_changes_nothing_before_it() {
    let longer = model(|graph| {
        let x = graph.sequences("more", 4).unwrap();
        let x = graph.dropout(x, 0.5).unwrap();
        let more = graph.rnn("more", x, &config()).unwrap();
        let more = graph.linear("after", more.last, 1).unwrap();
        graph.output("more", more).unwrap();
    });
    let shorter = model(|_| ());
    let (long, short) = (longer.initial(9).unwrap(), shorter.initial(9).unwrap());
    let len = shorter.layout().len();
    assert_eq!(long.data()[..len], *short.data());
    let device = CpuDevice::new().unwrap();
    let before = gradients(&device, &shorter, &short);
    let after = gradients(&device, &longer, &long);
    assert_eq!(after[..len], before);
    assert!(after[len..].iter().all(|gradient| *gradient == 0.0));
}

#[test]
fn a_network_takes_weights_from_elsewhere() {
    let model = model(|_| ());
    let weights = Parameters::initial(&config(), &Initial::default(), 4).unwrap();
    let mut parameters = model.initial(1).unwrap();
    parameters.set_rnn("rnn", &weights).unwrap();
    let at = model.layout().find("rnn.weight_ih_l0").unwrap().offset;
    assert_eq!(
        parameters.data()[at..at + weights.data().len()],
        *weights.data()
    );
    assert!(parameters.set_rnn("nothing", &weights).is_err());
    let wider = RnnConfig::lstm(4, 5).build().unwrap();
    let wider = Parameters::uniform(&wider, 1).unwrap();
    assert!(matches!(
        parameters.set_rnn("rnn", &wider),
        Err(Error::Shape { .. })
    ));
}

/// Layers that share parameters receive the sum of the gradients.
#[test]
fn shared_layers() {
    let mut graph = Graph::new();
    let [left, right] = ["left", "right"].map(|name| graph.sequences(name, 1).unwrap());
    let embedding = || Embedding::new(6, 4).unwrap();
    let mut encode = |node, shared: bool| {
        let name = |name| match shared {
            true => LayerName::Shared(name),
            false => LayerName::New(name),
        };
        let x = graph
            .embedding(name("embedding"), node, embedding())
            .unwrap();
        let rnn = graph.rnn(name("rnn"), x, &config()).unwrap();
        let norm = graph.layer_norm(name("norm"), rnn.last, 1e-3).unwrap();
        graph.linear(name("head"), norm, 2).unwrap()
    };
    let (a, b) = (encode(left, false), encode(right, true));
    let difference = graph.subtract(a, b).unwrap();
    let target = graph.input("target", Rows::Sequences, 2).unwrap();
    let loss = graph
        .loss(PointwiseLossKind::Squared, difference, target)
        .unwrap();
    graph.minimize(loss, 1.0).unwrap();
    let model = graph.build().unwrap();
    let single = 6 * 4 + 2 * 4 * 3 * (4 + 3 + 2) + 2 * 6 + 2 * 7;
    assert_eq!(model.layout().len(), single);
    let batch = Batch::new()
        .sequences("left", 1, &ids(1, &LENGTHS, 6))
        .and_then(|batch| batch.sequences("right", 1, &ids(2, &[3, 1, 5], 6)))
        .unwrap()
        .rows("target", numbers(3, 6));
    check("shared layers", &model, &batch);
}

/// A frozen parameter has no gradient, and the others have those that they had.
#[test]
fn frozen_parameters() {
    let plain = model(|_| ());
    let parameters = plain.initial(2).unwrap();
    for pattern in [
        "embedding.*",
        "rnn.*",
        "rnn.weight_hh*",
        "head.*",
        "*_reverse",
        "rnn.bias_ih_l0",
    ] {
        let frozen = model(|graph| graph.freeze(pattern).unwrap());
        check(pattern, &frozen, &batch());
        for device in devices() {
            let all = gradients(device.as_ref(), &plain, &parameters);
            let same =
                ModelParameters::from_flat(frozen.layout().clone(), parameters.data().to_vec());
            let some = gradients(device.as_ref(), &frozen, &same.unwrap());
            for parameter in frozen.layout().parameters() {
                let [all, some] = [&all, &some].map(|values| &values[parameter.range()]);
                let name = format!("{} with {pattern} on {}", parameter.name, device.name());
                match parameter.is_frozen {
                    true => assert!(some.iter().all(|gradient| *gradient == 0.0), "{name}"),
                    false => assert_eq!(some, all, "{name}"),
                }
            }
        }
    }
}

/// Across a stop nothing passes; what lies behind it is trained as before.
#[test]
fn stopped_gradients() {
    let mut graph = Graph::new();
    let words = graph.sequences("words", 1).unwrap();
    let x = graph
        .embedding("embedding", words, Embedding::new(6, 4).unwrap())
        .unwrap();
    let rnn = graph.rnn("rnn", x, &config()).unwrap();
    let stopped = graph.stop(rnn.last).unwrap();
    let y = graph.linear("head", stopped, 2).unwrap();
    let target = graph.input("target", Rows::Sequences, 2).unwrap();
    let loss = graph.loss(PointwiseLossKind::Squared, y, target).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    let model = graph.build().unwrap();
    let device = CpuDevice::new().unwrap();
    let gradients = gradients(&device, &model, &model.initial(1).unwrap());
    let head = model.layout().find("head.weight").unwrap().offset;
    assert!(gradients[..head].iter().all(|gradient| *gradient == 0.0));
    assert!(gradients[head..].iter().all(|gradient| *gradient != 0.0));
}
