//! Every variant of every cell on the GPU device against the reference: both strategies, outputs and gradients.

use std::sync::Arc;

use crate::common::{DROPOUT, Oracle, Problem, arranged, gpu, solve_and_check, variants};
use crate::gpu_steps::forward_dispatches;
use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice, Strategy};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::wgpu::Backends;
use wgpu_rnn::{Device, Mode, RnnConfig};

/// Runs every variant in both gradient modes, arranged differently for each `salt`; half of them in training with all dropouts.
fn every_variant(device: &Arc<dyn Device>, salt: usize) {
    one_variant_of(1, device, salt);
}

/// The same for one of each `share` variants; which, depends on `salt`.
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
        let oracle = Oracle::new(&problem);
        for mode in [GradientMode::Save, GradientMode::Recompute] {
            if let Err(error) = solve_and_check(name, &oracle, device, mode) {
                failures.push(error);
            }
        }
    }
    let count = failures.len();
    assert!(count == 0, "{count} failures:\n{}", failures.join("\n"));
}

/// Shader modules with the checks that wgpu adds compute the same.
#[test]
fn with_run_time_checks() {
    let options = GpuOptions::new().backends(Backends::VULKAN).checked(true);
    let device: Arc<dyn Device> = match GpuDevice::request_blocking(&options) {
        Ok(device) => Arc::new(device),
        Err(error) => panic!("this test needs a Vulkan adapter; {error}"),
    };
    every_variant(&device, 5);
}

#[test]
fn persistent_on_vulkan_with_full_limits() {
    let device = gpu(
        Backends::VULKAN,
        LimitsChoice::Adapter,
        Strategy::Persistent,
    );
    every_variant(&device, 0);
    every_variant(&device, 2);
}

#[test]
fn by_steps_on_vulkan_with_default_limits() {
    let device = gpu(Backends::VULKAN, LimitsChoice::Default, Strategy::Step);
    every_variant(&device, 1);
    every_variant(&device, 3);
}

#[test]
fn persistent_on_gl_with_default_limits() {
    every_variant(
        &gpu(Backends::GL, LimitsChoice::Default, Strategy::Persistent),
        1,
    );
}

#[test]
fn by_steps_on_gl_with_full_limits() {
    every_variant(&gpu(Backends::GL, LimitsChoice::Adapter, Strategy::Step), 2);
}

/// What the table of tiles would not choose here, too: each tile, its inputs by broadcast or through workgroup
/// memory, each with another quarter of the variants.
#[test]
fn every_tile() {
    for (salt, tile) in [1, 4, 8, 16].into_iter().enumerate() {
        for subgroups in [true, false] {
            let strategy = match (salt % 2 == 0) == subgroups {
                true => Strategy::Persistent,
                false => Strategy::Step,
            };
            let options = (GpuOptions::new().backends(Backends::VULKAN))
                .subgroups(subgroups)
                .tile(tile)
                .strategy(strategy);
            match GpuDevice::request_blocking(&options) {
                Ok(device) => {
                    one_variant_of(4, &(Arc::new(device) as Arc<dyn Device>), salt);
                }
                Err(error) => panic!("this test needs a Vulkan adapter; {error}"),
            }
        }
    }
}

/// Many sequences at first and few at last: a software adapter takes the first steps by dispatches of their own, the others
/// persistently, in narrower and narrower tiles.
#[test]
fn where_sequences_get_fewer() {
    // What is small depends on the cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lengths: Vec<usize> = (0..24 * cores).map(|i| 1 + (i * 7) % 12).collect();
    lengths.extend([30, 24, 24, 18, 18, 18, 18, 18, 16, 16]);
    let [auto, persistent, step] = [Strategy::Auto, Strategy::Persistent, Strategy::Step]
        .map(|strategy| gpu(Backends::VULKAN, LimitsChoice::Adapter, strategy));
    for (name, builder) in [
        ("lstm", RnnConfig::lstm(3, 128)),
        ("gru", RnnConfig::gru(3, 128)),
    ] {
        let config = builder.build().unwrap();
        if auto.name().contains("llvmpipe") {
            let [auto, persistent, step] = [&auto, &persistent, &step]
                .map(|device| forward_dispatches(device, &config, &lengths));
            assert!(
                persistent < auto && auto < step,
                "{name}: {persistent}, {auto}, {step}"
            );
        }
        let problem = Problem::generate(config, &lengths, 11);
        let oracle = Oracle::new(&problem);
        for mode in [GradientMode::Save, GradientMode::Recompute] {
            solve_and_check(name, &oracle, &auto, mode).unwrap();
        }
    }
}
