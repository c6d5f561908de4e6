//! Whole networks on the CPU device against the reference: every variant, generated shapes, outputs and gradients.

use std::sync::Arc;

use crate::common::{DROPOUT, Oracle, Problem, arranged, solve_and_check, variants};
use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Mode};

#[test]
fn every_variant_agrees_with_the_reference() {
    let on = |set| CpuDevice::with_options(&CpuOptions::new().instructions(set)).unwrap();
    let sets = Instructions::available().into_iter();
    let devices: Vec<Arc<dyn Device>> = sets.map(|set| Arc::new(on(set)) as _).collect();
    let mut failures = Vec::new();
    for (index, (name, builder)) in variants(3, 5).into_iter().enumerate() {
        for round in 0..4 {
            let config = arranged(builder.clone(), index + round);
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
            let oracle = Oracle::new(&problem);
            for device in &devices {
                for mode in [GradientMode::Save, GradientMode::Recompute] {
                    if let Err(error) = solve_and_check(name, &oracle, device, mode) {
                        failures.push(format!("{}, round {round}: {error}", device.name()));
                    }
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
