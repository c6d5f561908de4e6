//! Half precision: half the bytes of what is stored in it.

use std::sync::Arc;

use crate::common::devices;
use wgpu_rnn::ops::{BufferId, Program, Role};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::{
    Cell, Direction, GruReset, LayerNormKind, Packing, ParameterLayout, Precision, RnnConfig,
};

/// A network's training program over 8 sequences of 50 steps, loaded with these.
fn program(config: &RnnConfig, storage: Precision) -> (Program, [BufferId; 2]) {
    let mut program = Program::new();
    let len = ParameterLayout::new(config).unwrap().len();
    let [parameters, gradients] =
        ["parameters", "gradients"].map(|label| program.buffer(label, len, Role::External));
    let options = NetworkOptions {
        gradients: Some(GradientMode::Save),
        storage,
        ..NetworkOptions::default()
    };
    let packing = Arc::new(Packing::dense(50, 8).unwrap());
    let gradient = Some(gradients.into());
    let place = parameters.into();
    let network = Network::new(&mut program, config, &packing, &options, place, gradient).unwrap();
    network.forward(&mut program).unwrap();
    network.backward(&mut program).unwrap();
    (program, [parameters, gradients])
}

/// Bytes of a stacked network's buffers of these labels in the program, and all that a plan of it holds on the device.
fn bytes(config: &RnnConfig, storage: Precision, labels: &[&str]) -> (u64, u64) {
    let (program, externals) = program(config, storage);
    let labelled = (program.buffers().iter())
        .filter(|spec| labels.contains(&spec.label.as_ref()) && spec.role != Role::Output)
        .map(|spec| spec.precision.bytes(spec.len))
        .sum();
    let (_, device) = &devices()[1];
    let len = ParameterLayout::new(config).unwrap().len();
    let buffers = externals.map(|id| (id, device.buffer("flat", len).unwrap()));
    let plan = device.load(program, &buffers).unwrap();
    (labelled, plan.bytes())
}

/// All that training keeps, but for the states that the recurrence reads, two rows for each sequence and direction.
#[test]
fn half_precision_halves_all_activations() {
    let variants = [
        RnnConfig::lstm(16, 32),
        RnnConfig::lstm(16, 32).projection(8, true),
        RnnConfig::gru(16, 32).direction(Direction::BidirectionalSum),
        RnnConfig::gru(16, 32).reset(GruReset::Before),
        RnnConfig::gru(16, 32).layer_norm(LayerNormKind::WholeThenSum, 1e-5),
        RnnConfig::elman(16, 32),
    ];
    for builder in variants {
        let config = builder.layers(3).build().unwrap();
        let [single, half] = [Precision::F32, Precision::F16]
            .map(|storage| program(&config, storage).0.bytes(Role::Activation));
        assert!(
            half > 0 && 2 * half == single,
            "{config:?}: {single}, {half}"
        );
        let running = bytes(&config, Precision::F16, &["running_states"]).0;
        let cells = match config.spec().cell {
            Cell::Lstm => config.hidden_size(),
            _ => 0,
        };
        let row = (config.directions() * (config.state_size() + cells)) as u64;
        assert_eq!(running, 2 * 8 * 4 * row, "{config:?}");
        assert_eq!(bytes(&config, Precision::F32, &["running_states"]).0, 0);
    }
}

/// Packed weights, what is saved, and what passes between layers; the device holds as much less.
#[test]
fn half_precision_halves_what_the_device_holds() {
    let config = RnnConfig::lstm(16, 32).layers(3).build().unwrap();
    let labels = ["packed", "gates", "states", "output"];
    let (single, all_single) = bytes(&config, Precision::F32, &labels);
    let (half, all_half) = bytes(&config, Precision::F16, &labels);
    println!("{single} bytes of packed weights and activations, {half} in half precision");
    assert_eq!(2 * half, single);
    // Copies of the weights as textures are halved too.
    let saved = all_single - all_half + bytes(&config, Precision::F16, &["running_states"]).0;
    assert!(saved >= single - half, "{all_single}, {all_half}");
    for label in labels {
        let [single, half] =
            [Precision::F32, Precision::F16].map(|storage| bytes(&config, storage, &[label]).0);
        assert!(half > 0 && 2 * half == single, "{label}: {single}, {half}");
    }
}
