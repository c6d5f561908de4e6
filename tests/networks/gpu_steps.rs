//! Batches of single steps on GPUs: every tile and limit, and the number of dispatches.

use std::sync::Arc;

use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice};
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::wgpu::Backends;
use wgpu_rnn::{Device, Packing, RnnConfig};

use crate::common::{Oracle, Problem, gpu, solve_and_check};
use crate::steps::every_step;

#[test]
fn with_default_limits() {
    for backends in [Backends::VULKAN, Backends::GL] {
        let device = GpuOptions::new()
            .backends(backends)
            .limits(LimitsChoice::Default);
        match GpuDevice::request_blocking(&device) {
            Ok(device) => every_step(&(Arc::new(device) as Arc<dyn Device>), 2, 1),
            Err(error) => panic!("this test needs an adapter on {backends:?}; {error}"),
        }
    }
}

#[test]
fn of_every_tile() {
    for (salt, tile) in [1, 4, 8, 16].into_iter().enumerate() {
        for subgroups in [true, false] {
            let options = (GpuOptions::new().backends(Backends::VULKAN))
                .subgroups(subgroups)
                .tile(tile);
            match GpuDevice::request_blocking(&options) {
                Ok(device) => every_step(&(Arc::new(device) as Arc<dyn Device>), 4, salt),
                Err(error) => panic!("this test needs a Vulkan adapter; {error}"),
            }
        }
    }
}

/// How many dispatches the forward of a network takes.
pub(crate) fn forward_dispatches(
    device: &Arc<dyn Device>,
    config: &RnnConfig,
    lengths: &[usize],
) -> usize {
    let mut program = Program::new();
    let len = wgpu_rnn::ParameterLayout::new(config).unwrap().len();
    let parameters = program.buffer("parameters", len, Role::External);
    let options = NetworkOptions {
        initial_state: true,
        ..NetworkOptions::default()
    };
    let packing = Arc::new(Packing::new(lengths).unwrap());
    let place = parameters.into();
    let network = Network::new(&mut program, config, &packing, &options, place, None).unwrap();
    network.forward(&mut program).unwrap();
    let buffer = device.buffer("parameters", len).unwrap();
    let plan = device.load(program, &[(parameters, buffer)]).unwrap();
    plan.dispatches(Section::Forward)
}

#[test]
fn small_layers_share_a_dispatch() {
    let device = gpu(
        Backends::VULKAN,
        LimitsChoice::Adapter,
        wgpu_rnn::gpu::Strategy::Auto,
    );
    let wide = 512;
    for cell in [RnnConfig::elman, RnnConfig::lstm, RnnConfig::gru] {
        let dispatches = |hidden: usize, layers: usize, residual: bool| {
            let config = cell(hidden, hidden).layers(layers).residual(residual);
            forward_dispatches(&device, &config.build().unwrap(), &[1])
        };
        assert_eq!(
            [1, 2, 4, 5].map(|layers| dispatches(8, layers, false)),
            [1, 1, 1, 2]
        );
        // Where each workgroup would repeat too much, each layer has its own.
        assert_eq!(dispatches(wide, 3, false), 3);
        // A residual layer is not among them: its parts take more than one.
        assert!(dispatches(8, 3, true) > 2);
    }
}

/// More terms than an invocation's loops may have on Mesa's software adapter, which would end them silently: the input's product
/// is a matrix product of its own then, in parts.
#[test]
fn of_very_many_inputs() {
    let config = RnnConfig::gru(70_000, 3).build().unwrap();
    let mut problem = Problem::generate(config, &[1], 7);
    // Sums of so many terms would saturate every gate.
    let weights = problem.parameters.data_mut().iter_mut();
    weights.for_each(|weight| *weight /= 100.0);
    let oracle = Oracle::new(&problem);
    for subgroups in [true, false] {
        let options = GpuOptions::new().subgroups(subgroups);
        let device = GpuDevice::request_blocking(&options.backends(Backends::VULKAN)).unwrap();
        let device: Arc<dyn Device> = Arc::new(device);
        let mode = GradientMode::Recompute;
        solve_and_check("many inputs", &oracle, &device, mode).unwrap();
    }
}
