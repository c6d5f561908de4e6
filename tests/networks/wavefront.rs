//! Stacks by their wavefront, forward and backward: against the reference, and against layer after layer, bit for bit.

use std::sync::Arc;

use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Mode, RnnConfig};

use crate::common::{DROPOUT, Oracle, Problem, devices, solve_and_check, variants};

/// Every variant as a stack of two or three layers, over ragged batches with an empty sequence, in chunks of a step, of some
/// that do not divide the steps, and longer than the batch; half of them in training with all dropouts; with gates saved and
/// computed again.
fn every_variant(device: &Arc<dyn Device>, salt: usize) {
    for (index, (name, builder)) in variants(3, 5).into_iter().enumerate() {
        let index = index + salt;
        let builder = builder.layers(2 + index % 2).residual(index % 5 == 1);
        let mode = [Mode::Evaluation, Mode::Training][index / 2 % 2];
        let config = match mode {
            Mode::Evaluation => builder.build(),
            Mode::Training => builder.dropout(DROPOUT).build(),
        };
        let mut problem = Problem::generate(config.unwrap(), &[4, 0, 7, 1, 7, 2], index as u64);
        problem.mode = mode;
        let answers = |problem: &Problem| {
            let output = problem.infer(device).unwrap();
            let (_, gradients) = problem.solve(device, GradientMode::Save).unwrap();
            let [state, d_state] = [output.state, gradients.state].map(|state| (state.h, state.c));
            // With whole rows normalised the sums over a chunk's rows are added up.
            let is_one_sum = !problem.config.spec().is_whole_norm();
            let parameters = is_one_sum.then_some(gradients.parameters);
            [
                vec![output.y, state.0, state.1],
                vec![gradients.x, d_state.0, d_state.1],
                vec![parameters.unwrap_or_default()],
            ]
        };
        let after = answers(&problem);
        problem.wavefront = Some([3, 1, 4, 100][index % 4]);
        let oracle = Oracle::new(&problem);
        for mode in [GradientMode::Save, GradientMode::Recompute] {
            solve_and_check(name, &oracle, device, mode).unwrap();
        }
        // Another way through the operations; a product's sums may depend on its number of rows on the CPU alone.
        if !device.name().starts_with("CPU") {
            let what = ["outputs", "gradients", "parameters' gradients"];
            for (what, (after, by_waves)) in what.iter().zip(after.iter().zip(answers(&problem))) {
                assert!(*after == by_waves, "{name}: other {what}");
            }
        }
    }
}

#[test]
fn on_all_devices() {
    for (salt, (_, device)) in devices().iter().enumerate() {
        every_variant(device, salt);
    }
}

/// More layers than the uniform of one dispatch has cells.
#[test]
fn of_many_layers() {
    let config = RnnConfig::gru(3, 5).layers(14).build().unwrap();
    let mut problem = Problem::generate(config, &[20, 17], 3);
    problem.wavefront = Some(1);
    let oracle = Oracle::new(&problem);
    for (name, device) in devices() {
        solve_and_check(name, &oracle, device, GradientMode::Save).unwrap();
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::*;
    use crate::common::gpu;
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice, Strategy};
    use wgpu_rnn::ops::{Program, Role, Section};
    use wgpu_rnn::rnn::{Network, NetworkOptions};
    use wgpu_rnn::wgpu::Backends;
    use wgpu_rnn::{Packing, ParameterLayout, Precision};

    /// Dispatches of the recurrence of three layers over 60 steps of so many sequences, forward and backward, a device's own
    /// options.
    fn recurrent_dispatches(sequences: usize) -> [usize; 2] {
        let device = gpu(Backends::VULKAN, LimitsChoice::Adapter, Strategy::Auto);
        let config = RnnConfig::gru(8, 8).layers(3).build().unwrap();
        let mut program = Program::new();
        let len = ParameterLayout::new(&config).unwrap().len();
        let [parameters, gradients] =
            ["parameters", "gradients"].map(|label| program.buffer(label, len, Role::External));
        let options = NetworkOptions {
            gradients: Some(GradientMode::Save),
            ..NetworkOptions::on(device.as_ref())
        };
        let packing = Arc::new(Packing::new(&vec![60; sequences]).unwrap());
        let places = (parameters.into(), Some(gradients.into()));
        let network = Network::new(
            &mut program,
            &config,
            &packing,
            &options,
            places.0,
            places.1,
        )
        .unwrap();
        network.forward(&mut program).unwrap();
        network.backward(&mut program).unwrap();
        let external =
            [parameters, gradients].map(|id| (id, device.buffer("external", len).unwrap()));
        let mut plan = device.load(program, &external).unwrap();
        plan.run(Section::Prepare).unwrap();
        [Section::Forward, Section::Backward].map(|section| {
            let spans = plan.profile(section).unwrap();
            let recurrent = spans
                .iter()
                .filter(|span| span.label.starts_with("recurrent_"));
            recurrent.count()
        })
    }

    #[test]
    fn a_wave_is_one_dispatch() {
        // Two chunks of three layers: one, two, two and one cell.
        assert_eq!(recurrent_dispatches(3), [4; 2]);
        assert_eq!(recurrent_dispatches(40), [3; 2], "layer after layer");
    }

    #[test]
    fn on_gl_with_default_limits() {
        let device = gpu(Backends::GL, LimitsChoice::Default, Strategy::Auto);
        every_variant(&device, 2);
    }

    /// Stored in half precision, where states run apart from what is kept of them.
    #[test]
    fn in_half_precision() {
        let options = GpuOptions::new().backends(Backends::VULKAN);
        let device = GpuDevice::request_blocking(&options).unwrap();
        assert!(
            device.can_store(Precision::F16),
            "this test needs an adapter with SHADER_F16"
        );
        let device: Arc<dyn Device> = Arc::new(device);
        for (name, builder) in [
            ("lstm", RnnConfig::lstm(3, 8)),
            ("gru", RnnConfig::gru(3, 8)),
        ] {
            let config = builder.layers(3).build().unwrap();
            let mut problem = Problem::generate(config, &[6, 5, 0, 1], 7);
            problem.storage = Precision::F16;
            problem.wavefront = Some(2);
            let oracle = Oracle::new(&problem);
            solve_and_check(name, &oracle, &device, GradientMode::Save).unwrap();
        }
    }
}
