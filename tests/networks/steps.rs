//! Batches of single steps: what a stream runs, in one dispatch for several layers where the cell allows it.

use std::sync::Arc;

use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::{Device, PackedBatch, Packing, Plan, RnnConfig};

use crate::common::{Oracle, Problem, devices, solve_and_check, variants};

/// Every variant as one to three layers of one direction over batches of one step: one sequence, a few, more than one dispatch takes, and
/// one that is not all steps.
pub(crate) fn every_step(device: &Arc<dyn Device>, share: usize, salt: usize) {
    let batches: [&[usize]; 4] = [&[1], &[1, 1, 1], &[1; 21], &[1, 0, 1]];
    let variants = variants(3, 21).into_iter().enumerate();
    for (index, (name, builder)) in variants.skip(salt % share).step_by(share) {
        let config = builder.layers(1 + index % 3).residual(index % 5 == 4);
        let config = config.build().unwrap();
        let batch = batches[(index / share + salt) % batches.len()];
        let problem = Problem::generate(config, batch, index as u64);
        let oracle = Oracle::new(&problem);
        solve_and_check(name, &oracle, device, GradientMode::Recompute).unwrap();
    }
}

/// More layers than a dispatch takes, of a few sequences in the caller's order.
#[test]
fn of_deep_stacks() {
    for (index, cell) in [RnnConfig::elman, RnnConfig::lstm, RnnConfig::gru]
        .into_iter()
        .enumerate()
    {
        let config = cell(5, 21).layers(4 + index).build().unwrap();
        let problem = Problem::generate(config, &[1, 1, 1], index as u64);
        let oracle = Oracle::new(&problem);
        for (name, device) in devices() {
            solve_and_check(name, &oracle, device, GradientMode::Recompute).unwrap();
        }
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
