//! Whole networks on the GPU device against the reference: every variant, both strategies, outputs and gradients.

mod common;

use std::sync::Arc;

use common::{DROPOUT, Problem, arranged, check, variants};
use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice, Strategy};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Mode, wgpu};

fn device(backend: wgpu::Backends, limits: LimitsChoice, strategy: Strategy) -> Arc<dyn Device> {
    let options = GpuOptions::new()
        .backends(backend)
        .limits(limits)
        .strategy(strategy);
    match GpuDevice::request_blocking(&options) {
        Ok(device) => Arc::new(device),
        Err(error) => panic!("these tests need an adapter on {backend:?}: {error}"),
    }
}

fn every_variant(device: &Arc<dyn Device>, rounds: usize, salt: usize) {
    let mut failures = Vec::new();
    for (index, (name, builder)) in variants(3, 5).into_iter().enumerate() {
        for round in 0..rounds {
            let config = arranged(builder.clone(), index + round + salt);
            let config = if round % 2 == 1 {
                config.dropout(DROPOUT)
            } else {
                config
            }
            .build()
            .unwrap();
            let mut problem = Problem::generate(
                config,
                &[4, 0, 7, 1, 7, 2],
                11 * index as u64 + round as u64,
            );
            problem.mode = if round % 2 == 1 {
                Mode::Training
            } else {
                Mode::Evaluation
            };
            for mode in [GradientMode::Save, GradientMode::Recompute] {
                let result = problem.solve(device, mode).map_err(|e| e.to_string());
                if let Err(error) = result.and_then(|answer| check(&problem, &answer)) {
                    failures.push(format!("{name} round {round} {mode:?}: {error}"));
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_variant_persistent_on_vulkan() {
    every_variant(
        &device(
            wgpu::Backends::VULKAN,
            LimitsChoice::Adapter,
            Strategy::Persistent,
        ),
        2,
        0,
    );
}

#[test]
fn every_variant_by_steps_on_vulkan_with_default_limits() {
    every_variant(
        &device(
            wgpu::Backends::VULKAN,
            LimitsChoice::Default,
            Strategy::Step,
        ),
        2,
        1,
    );
}
