//! The forward of stacks by their wavefront: against the reference, and against layer after layer, bit for bit.

use std::sync::Arc;

use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Mode, RnnConfig};

use crate::common::{DROPOUT, Oracle, Problem, devices, solve_and_check, variants};

/// Every variant as a stack of two or three layers, over ragged batches with an empty sequence, in chunks of a step, of some
/// that do not divide the steps, and longer than the batch; half of them in training with all dropouts.
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
        let after = problem.infer(device).unwrap();
        problem.wavefront = Some([3, 1, 4, 100][index % 4]);
        let oracle = Oracle::new(&problem);
        solve_and_check(name, &oracle, device, GradientMode::Save).unwrap();
        let by_waves = problem.infer(device).unwrap();
        // Another way through the operations; a product's sums may depend on its number of rows on the CPU alone.
        if !device.name().starts_with("CPU") {
            assert_eq!(after.y, by_waves.y, "{name}");
            assert_eq!(after.state.h, by_waves.state.h, "{name}");
            assert_eq!(after.state.c, by_waves.state.c, "{name}");
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

    /// Dispatches of the recurrence in the forward of three layers over 60 steps of so many sequences, a device's own options.
    fn recurrent_dispatches(sequences: usize) -> usize {
        let device = gpu(Backends::VULKAN, LimitsChoice::Adapter, Strategy::Auto);
        let config = RnnConfig::gru(8, 8).layers(3).build().unwrap();
        let mut program = Program::new();
        let len = ParameterLayout::new(&config).unwrap().len();
        let parameters = program.buffer("parameters", len, Role::External);
        let options = NetworkOptions::on(device.as_ref());
        let packing = Arc::new(Packing::new(&vec![60; sequences]).unwrap());
        let place = parameters.into();
        let network = Network::new(&mut program, &config, &packing, &options, place, None).unwrap();
        network.forward(&mut program).unwrap();
        let buffer = device.buffer("parameters", len).unwrap();
        let mut plan = device.load(program, &[(parameters, buffer)]).unwrap();
        plan.run(Section::Prepare).unwrap();
        let spans = plan.profile(Section::Forward).unwrap();
        let recurrent = spans
            .iter()
            .filter(|span| span.label.starts_with("recurrent_forward"));
        recurrent.count()
    }

    #[test]
    fn a_wave_is_one_dispatch() {
        // Two chunks of three layers: one, two, two and one cell.
        assert_eq!(recurrent_dispatches(3), 4);
        assert_eq!(recurrent_dispatches(40), 3, "layer after layer");
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
