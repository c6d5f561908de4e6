//! WebGPU's default limits on a host's device: what fits them is chosen, what does not gives way.

use std::sync::Arc;

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::rnn::{Network, NetworkOptions};
use wgpu_rnn::{Device, Packing, Parameters, RnnConfig, wgpu};

use crate::host;

/// An LSTM layer's step: its dispatches, and its output.
fn step(device: &dyn Device) -> (usize, Vec<f32>) {
    let config = RnnConfig::lstm(4, 8).build().unwrap();
    let weights = Parameters::uniform(&config, 3).unwrap();
    let mut program = Program::new();
    let parameters = program.buffer("parameters", weights.data().len(), Role::Input);
    let options = NetworkOptions {
        initial_state: true,
        ..NetworkOptions::default()
    };
    let packing = Arc::new(Packing::new(&[1]).unwrap());
    let place = parameters.into();
    let network = Network::new(&mut program, &config, &packing, &options, place, None).unwrap();
    network.forward(&mut program).unwrap();
    let mut plan = device.load(program, &[]).unwrap();
    plan.write(parameters, weights.data()).unwrap();
    plan.write(network.x, &[0.5, -0.25, 1.0, 0.75]).unwrap();
    for state in [network.h0, network.c0] {
        plan.write(state.unwrap(), &[0.125; 8]).unwrap();
    }
    plan.run(Section::Prepare).unwrap();
    let mut y = vec![0.0; 8];
    let reads = &mut [(network.y, &mut y[..])];
    plan.run_and_read(&[Section::Forward], reads).unwrap();
    (plan.dispatches(Section::Forward), y)
}

/// An LSTM's step in one dispatch binds nine buffers, one more than there are; where its weights are a texture, eight.
#[test]
fn storage_buffers_are_counted() {
    let expected = step(&CpuDevice::new().unwrap()).1;
    for features in [wgpu_rnn::gpu::REQUIRED_FEATURES, wgpu::Features::SUBGROUP] {
        let (raw, queue) = host::device_with(features);
        assert_eq!(raw.limits().max_storage_buffers_per_shader_stage, 8);
        // Where textures are chosen: on a software adapter whose subgroups broadcast to eight lanes.
        let info = raw.adapter_info();
        let has_texture = features.contains(wgpu::Features::SUBGROUP)
            && info.device_type == wgpu::DeviceType::Cpu
            && info.subgroup_min_size >= 8;
        let device = GpuDevice::from_device(raw, queue, &GpuOptions::new());
        let (dispatches, y) = step(&device);
        for (y, expected) in y.iter().zip(&expected) {
            // Sums of 12 products and a bias, and two functions, of numbers below 1.
            assert!(
                (y - expected).abs() < 32.0 * f32::EPSILON,
                "{y}, {expected}"
            );
        }
        assert_eq!(dispatches == 1, has_texture, "{features:?}: {dispatches}");
    }
}
