//! Half precision: half the bytes of what is stored in it.

use std::sync::Arc;

use crate::common::devices;
use wgpu_rnn::ops::{Program, Role};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::{Packing, ParameterLayout, Precision, RnnConfig};

/// Bytes of a stacked network's buffers of these labels in the program, and all that a plan of it holds on the device.
fn bytes(config: &RnnConfig, storage: Precision, labels: &[&str]) -> (u64, u64) {
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
    let labelled = (program.buffers().iter())
        .filter(|spec| labels.contains(&spec.label) && spec.role != Role::Output)
        .map(|spec| spec.precision.bytes(spec.len))
        .sum();
    let (_, device) = &devices()[1];
    let buffers = [parameters, gradients].map(|id| (id, device.buffer("flat", len).unwrap()));
    let plan = device.load(program, &buffers).unwrap();
    (labelled, plan.bytes())
}

/// Packed weights, saved gates, and what passes between layers; the device holds as much less.
#[test]
fn half_precision_halves_weights_and_gates() {
    let config = RnnConfig::lstm(16, 32).layers(3).build().unwrap();
    let labels = ["packed", "gates", "output"];
    let (single, all_single) = bytes(&config, Precision::F32, &labels);
    let (half, all_half) = bytes(&config, Precision::F16, &labels);
    println!("{single} bytes of packed weights, gates and outputs, {half} in half precision");
    assert_eq!(2 * half, single);
    // Copies of the weights as textures are halved too.
    let saved = all_single - all_half;
    assert!(saved >= single - half, "{all_single}, {all_half}");
    for label in labels {
        let [single, half] =
            [Precision::F32, Precision::F16].map(|storage| bytes(&config, storage, &[label]).0);
        assert!(half > 0 && 2 * half == single, "{label}: {single}, {half}");
    }
}
