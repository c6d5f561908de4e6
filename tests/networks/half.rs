//! Networks whose weights, gates, states of all steps and inner outputs are stored in half precision: every variant against the
//! reference, with the tolerance that rounding those very values explains.

use std::sync::Arc;

use crate::common::{DROPOUT, Oracle, Problem, arranged, devices, gpu, solve_and_check, variants};
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice, Strategy};
use wgpu_rnn::ops::{
    Operation, Program, Recurrence, RecurrentBackward, Role, Section, StateRegions,
};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::wgpu::Backends;
use wgpu_rnn::{
    Bias, Device, Error, Mode, Packing, ParameterKind, ParameterLayout, Parameters, Precision,
    RnnConfig,
};

/// One of each `share` variants in both gradient modes; which, and how arranged, depends on `salt`.
fn one_variant_of(share: usize, device: &Arc<dyn Device>, salt: usize) {
    let mut failures = Vec::new();
    let variants = variants(3, 5).into_iter().enumerate();
    for (index, (name, builder)) in variants.skip(salt % share).step_by(share) {
        let index = index + salt;
        let builder = arranged(builder, index);
        let mode = [Mode::Evaluation, Mode::Training][index / 2 % 2];
        let config = match mode {
            Mode::Evaluation => builder.build(),
            Mode::Training => builder.dropout(DROPOUT).build(),
        };
        let mut problem = Problem::generate(config.unwrap(), &[4, 0, 7, 1, 7, 2], index as u64);
        problem.mode = mode;
        problem.storage = Precision::F16;
        let oracle = Oracle::new(&problem);
        for mode in [GradientMode::Save, GradientMode::Recompute] {
            match solve_and_check(name, &oracle, device, mode) {
                // What is in half precision shows: the tolerance of single precision would not hold.
                Ok(worst) if worst < 2e-6 => failures.push(format!("{name}: only {worst:e} off")),
                Ok(_) => {}
                Err(error) => failures.push(error),
            }
        }
    }
    let count = failures.len();
    assert!(count == 0, "{count} failures:\n{}", failures.join("\n"));
}

#[test]
fn every_variant_persistent() {
    one_variant_of(1, &devices()[1].1, 0);
}

#[test]
fn every_variant_by_steps() {
    one_variant_of(1, &devices()[2].1, 1);
}

/// Tiles forced, inputs by broadcast or through workgroup memory.
#[test]
fn some_of_every_tile() {
    for (salt, tile) in [1, 4, 8, 16].into_iter().enumerate() {
        for subgroups in [true, false] {
            let options = (GpuOptions::new().backends(Backends::VULKAN))
                .subgroups(subgroups)
                .tile(tile);
            match GpuDevice::request_blocking(&options) {
                Ok(device) => one_variant_of(6, &(Arc::new(device) as Arc<dyn Device>), salt),
                Err(error) => panic!("this test needs a Vulkan adapter; {error}"),
            }
        }
    }
}

/// Batches of single steps, of which a layer is one dispatch.
#[test]
fn single_steps() {
    for (index, (name, builder)) in variants(3, 21).into_iter().enumerate().step_by(3) {
        let config = builder.layers(1 + index % 2).build().unwrap();
        let mut problem = Problem::generate(config, &[1, 1, 1], index as u64);
        problem.storage = Precision::F16;
        let oracle = Oracle::new(&problem);
        solve_and_check(name, &oracle, &devices()[1].1, GradientMode::Recompute).unwrap();
    }
}

/// Thousands of additions to a cell state, each less than half the distance of its neighbours in half precision: a state that ran
/// in that would stay behind. With weights of zero and biases that half precision holds exactly nothing else is rounded before
/// the states are kept.
#[test]
fn states_run_in_single_precision() {
    let config = RnnConfig::lstm(2, 3).bias(Bias::One).build().unwrap();
    let steps = 3000;
    let mut problem = Problem::generate(config, &[steps, 5, steps - 1], 1);
    let mut parameters = Parameters::zeros(&problem.config).unwrap();
    let entry = parameters.layout().entries().last().cloned().unwrap();
    assert_eq!(entry.kind, ParameterKind::BiasInput);
    // i, f, g, o: the cell state gains sigmoid(-11) a step.
    for (gate, bias) in [-11.0, 20.0, 10.0, 2.0].into_iter().enumerate() {
        parameters.data_mut()[entry.offset + 3 * gate..][..3].fill(bias);
    }
    problem.parameters = parameters;
    problem.initial = None;
    problem.storage = Precision::F16;
    let (exact, _) = problem.expected::<f64>();
    // A rounding in f32 for each step.
    let tolerance = steps as f64 * f64::from(f32::EPSILON);
    for (name, device) in &devices()[1..] {
        let (output, _) = problem.solve(device, GradientMode::Save).unwrap();
        // Half precision's rounding to either neighbour, once.
        for (got, exact, rounding) in [
            (&output.state.c, &exact.state.c, 0.0),
            (&output.state.h, &exact.state.h, 0.0),
            (&output.y, &exact.y, 1.0 / 1024.0),
        ] {
            for (&got, &exact) in got.iter().zip(exact) {
                let error = (f64::from(got) - exact).abs();
                let most = (tolerance + rounding) * exact.abs() + rounding * 1e-4;
                assert!(error <= most, "{name}: {got}, expected {exact}");
            }
        }
    }
}

/// A training program with recurrent dropout, its forward recurrence and the backward of that.
fn masked_program() -> (Program, Recurrence, RecurrentBackward) {
    let builder = RnnConfig::lstm(3, 5).dropout(DROPOUT);
    let config = builder.build().unwrap();
    let mut program = Program::new();
    let len = ParameterLayout::new(&config).unwrap().len();
    let [parameters, gradients] =
        ["parameters", "gradients"].map(|label| program.buffer(label, len, Role::Input).into());
    let options = NetworkOptions {
        mode: Mode::Training,
        gradients: Some(GradientMode::Save),
        storage: Precision::F16,
        ..NetworkOptions::default()
    };
    let packing = Arc::new(Packing::new(&[2, 1]).unwrap());
    let gradients = Some(gradients);
    let network = Network::new(
        &mut program,
        &config,
        &packing,
        &options,
        parameters,
        gradients,
    )
    .unwrap();
    network.forward(&mut program).unwrap();
    network.backward(&mut program).unwrap();
    let forward = program.section(Section::Forward).iter();
    let backward = program.section(Section::Backward).iter();
    let forward = forward.filter_map(|operation| match operation {
        Operation::RecurrentForward(op) => Some(op.clone()),
        _ => None,
    });
    let backward = backward.filter_map(|operation| match operation {
        Operation::RecurrentBackward(op) => Some(op.clone()),
        _ => None,
    });
    let (forward, backward) = ({ forward }.next().unwrap(), { backward }.next().unwrap());
    (program, forward, backward)
}

#[test]
fn running_states_that_do_not_fit_are_refused() {
    let (program, forward, backward) = masked_program();
    let (_, device) = &devices()[1];
    let load = |operation: Operation| {
        let mut program = program.clone();
        program.push(Section::Backward, operation);
        device.load(program, &[]).map(|_| ())
    };
    load(forward.clone().into()).unwrap();
    load(backward.clone().into()).unwrap();
    let running: [fn(&mut StateRegions); 4] = [
        |running| running.h.offset = 1 << 40,
        |running| running.recurrent_input.offset += 1 << 20,
        |running| running.mask = running.mask.map(|mask| mask.at(1 << 20)),
        |running| running.c = running.c.map(|c| c.at(1 << 20)),
    ];
    for (index, change) in running.into_iter().enumerate() {
        let mut wrong = forward.clone();
        change(wrong.running.as_mut().unwrap());
        assert!(load(wrong.into()).is_err(), "change {index}");
    }
    let elsewhere = RecurrentBackward {
        mask: Some(backward.output_gradient),
        ..backward.clone()
    };
    let mut mask_elsewhere = forward;
    let running = mask_elsewhere.running.as_mut().unwrap();
    running.mask = Some(backward.output_gradient);
    let missing = RecurrentBackward {
        mask: None,
        ..backward
    };
    for (operation, text) in [
        (mask_elsewhere.into(), "another buffer"),
        (elsewhere.into(), "another buffer"),
        (missing.into(), "mask"),
    ] {
        let error = load(operation).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

fn refusal(device: &Arc<dyn Device>) -> String {
    let config = RnnConfig::gru(2, 4).build().unwrap();
    let mut problem = Problem::generate(config, &[3], 1);
    problem.storage = Precision::F16;
    match problem.infer(device) {
        Err(Error::Option { option, reason }) => {
            assert_eq!(option, "storage");
            reason
        }
        other => panic!("{}: {other:?}", device.name()),
    }
}

#[test]
fn a_device_that_cannot_refuses() {
    let gl = gpu(Backends::GL, LimitsChoice::Adapter, Strategy::Auto);
    let plain = gpu(Backends::VULKAN, LimitsChoice::Default, Strategy::Auto);
    for device in [gl, plain] {
        let reason = refusal(&device);
        let name = device.name();
        assert!(
            reason.contains("SHADER_F16") && reason.contains(&name),
            "{reason}"
        );
    }
    let cpu: Arc<dyn Device> = Arc::new(CpuDevice::new().unwrap());
    assert!(refusal(&cpu).contains("the GPU device alone"));
}
