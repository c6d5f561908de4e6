//! Batches of single steps: what a stream runs, in one dispatch a layer where the cell allows it.

use std::sync::Arc;

use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice};
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::wgpu::Backends;
use wgpu_rnn::{Device, PackedBatch, Packing, Plan, RnnConfig};

use crate::common::{Oracle, Problem, devices, gpu, solve_and_check, variants};

/// Every variant as layers of one direction over batches of one step: one sequence, a few, more than one dispatch takes, and
/// one that is not all steps.
fn every_step(device: &Arc<dyn Device>, share: usize, salt: usize) {
    let batches: [&[usize]; 4] = [&[1], &[1, 1, 1], &[1; 21], &[1, 0, 1]];
    let variants = variants(3, 21).into_iter().enumerate();
    for (index, (name, builder)) in variants.skip(salt % share).step_by(share) {
        let config = builder.layers(1 + index % 2).residual(index % 5 == 4);
        let config = config.build().unwrap();
        let batch = batches[(index / share + salt) % batches.len()];
        let problem = Problem::generate(config, batch, index as u64);
        let oracle = Oracle::new(&problem);
        solve_and_check(name, &oracle, device, GradientMode::Recompute).unwrap();
    }
}

#[test]
fn on_all_devices() {
    for (_, device) in devices() {
        for salt in 0..4 {
            every_step(device, 1, salt);
        }
    }
}

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
fn a_layer_is_one_dispatch_on_a_gpu() {
    let device = gpu(
        Backends::VULKAN,
        LimitsChoice::Adapter,
        wgpu_rnn::gpu::Strategy::Auto,
    );
    for builder in [
        RnnConfig::elman(3, 8),
        RnnConfig::lstm(3, 8),
        RnnConfig::gru(3, 8),
    ] {
        let config = builder.layers(3).build().unwrap();
        assert_eq!(forward_dispatches(&device, &config, &[1]), 3);
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

/// One step after the other, the state carried, is the whole sequence.
#[test]
fn one_after_the_other_make_the_sequence() {
    for (name, builder) in variants(3, 9) {
        let config = builder.layers(2).build().unwrap();
        let problem = Problem::generate(config, &[6, 6], 3);
        let exact = problem.expected::<f64>().0;
        let rounding = problem.expected::<f32>().0;
        for (device_name, device) in devices() {
            let mut rnn = problem.rnn(device).unwrap();
            let mut state = problem.initial.clone().unwrap();
            let packing = Arc::new(Packing::new(&[1, 1]).unwrap());
            for step in 0..6 {
                // Rows of a packed batch of equal lengths: step by step, sequence by sequence.
                let rows = problem.batch.data()[step * 2 * 3..][..2 * 3].to_vec();
                let batch = PackedBatch::new(packing.clone(), 3, rows).unwrap();
                let output = rnn.infer(&batch, Some(&state)).unwrap();
                state = output.state;
                let at = step * output.y.len();
                let worst = |values: &[f32]| {
                    let exact = exact.y[at..].iter().zip(values);
                    let errors = exact.map(|(exact, value)| (exact - f64::from(*value)).abs());
                    errors.fold(0.0, f64::max)
                };
                let noise = worst(&rounding.y[at..][..output.y.len()]).max(f64::from(f32::EPSILON));
                let error = worst(&output.y);
                assert!(
                    error <= 16.0 * noise,
                    "{name} on {device_name}, step {step}: {error:.2e}, noise {noise:.2e}"
                );
            }
        }
    }
}

/// A stream whose state is carried in place, in a buffer of the caller's that is both `h0` and `h_n`: reading and writing it
/// takes more than one dispatch, whatever is faster.
#[test]
fn a_state_is_carried_in_place() {
    let config = RnnConfig::gru(3, 40).layers(2).build().unwrap();
    let problem = Problem::generate(config.clone(), &[4], 5);
    for (name, device) in devices() {
        let mut rnn = problem.rnn(device).unwrap();
        let expected = rnn.infer(&problem.batch, problem.initial.as_ref()).unwrap();
        let mut program = Program::new();
        let len = problem.parameters.data().len();
        let parameters = program.buffer("parameters", len, Role::External);
        let options = NetworkOptions {
            initial_state: true,
            ..NetworkOptions::default()
        };
        let packing = Arc::new(Packing::new(&[1]).unwrap());
        let place = parameters.into();
        let network = Network::new(&mut program, &config, &packing, &options, place, None).unwrap();
        network.forward(&mut program).unwrap();
        let state = device.buffer("state", 2 * 40).unwrap();
        let initial = problem.initial.as_ref().unwrap();
        device.write(&state, 0, &initial.h).unwrap();
        let external = [
            (parameters, rnn.parameters().clone()),
            (network.h0.unwrap(), state.clone()),
            (network.h_n, state.clone()),
        ];
        let mut plan: Box<dyn Plan> = device.load(program, &external).unwrap();
        plan.run(Section::Prepare).unwrap();
        let mut y = vec![0.0; 40];
        for step in 0..4 {
            plan.write(network.x, &problem.batch.data()[3 * step..][..3])
                .unwrap();
            let mut last = vec![0.0; 2 * 40];
            let mut reads = [(network.y, &mut y[..]), (network.h_n, &mut last[..])];
            plan.run_and_read(&[Section::Forward], &mut reads).unwrap();
            assert_eq!(y, last[40..], "{name}, step {step}");
            for (value, expected) in y.iter().zip(&expected.y[40 * step..]) {
                let difference = (value - expected).abs();
                assert!(
                    difference < 1e-5,
                    "{name}, step {step}: {value} for {expected}"
                );
            }
        }
    }
}
