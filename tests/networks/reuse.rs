//! Plans in the memory of dropped plans: the same results, bit for bit, as on a device that never had another one, whatever
//! that memory holds.

use std::sync::Arc;

use crate::common::{DROPOUT, Problem, arranged, devices, variants};
use proptest::prelude::*;
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::{BufferId, Fill, Program, Role, Section};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Error, Mode};

fn cpu() -> Arc<dyn Device> {
    Arc::new(CpuDevice::new().unwrap())
}

/// Makes all memory that a device keeps for plans NaN, in pieces of all sizes that small networks ask for.
fn poison(device: &dyn Device) {
    let mut program = Program::new();
    let sizes = (4..18).flat_map(|power| (16..32).map(move |part| (part << power) / 16));
    let copies = sizes.flat_map(|size| [size; 6]);
    let buffers: Vec<(BufferId, usize)> = copies
        .map(|len| (program.buffer("poison", len, Role::Workspace), len))
        .collect();
    let mut plan = device.load(program, &[]).unwrap();
    for (buffer, len) in buffers {
        plan.write(buffer, &vec![f32::NAN; len]).unwrap();
    }
}

/// Every number of what a problem comes to, as bits.
fn answer(problem: &Problem, device: &Arc<dyn Device>, mode: GradientMode) -> Vec<u32> {
    let (output, gradients) = problem.solve(device, mode).unwrap();
    let inferred = problem.infer(device).unwrap();
    let all = [
        output.y,
        output.state.h,
        output.state.c,
        gradients.x,
        gradients.state.h,
        gradients.state.c,
        gradients.parameters,
        inferred.y,
        inferred.state.h,
        inferred.state.c,
    ];
    all.concat().into_iter().map(f32::to_bits).collect()
}

fn check_poisoned(name: &str, problem: &Problem, mode: GradientMode) {
    let (fresh, used) = (cpu(), cpu());
    let expected = answer(problem, &fresh, mode);
    poison(used.as_ref());
    assert!(used.pooled_bytes() > 0);
    for round in 0..2 {
        let got = answer(problem, &used, mode);
        assert!(got == expected, "{name}, {mode:?}, round {round}");
    }
}

#[test]
fn every_variant_ignores_what_its_memory_holds() {
    for (index, (name, builder)) in variants(3, 5).into_iter().enumerate() {
        for training in [false, true] {
            let mut builder = arranged(builder.clone(), index);
            if training {
                builder = builder.dropout(DROPOUT);
            }
            let config = builder.build().unwrap();
            let mut problem = Problem::generate(config, &[4, 0, 7, 1, 7, 2], index as u64);
            problem.mode = [Mode::Evaluation, Mode::Training][usize::from(training)];
            for mode in [GradientMode::Save, GradientMode::Recompute] {
                check_poisoned(name, &problem, mode);
            }
        }
    }
}

/// Rows of batches as a training loop has them: other lengths each time, without poison, on one device.
fn rows_of_batches() -> impl Strategy<Value = (usize, usize, Vec<Vec<usize>>, bool)> {
    let length = prop_oneof![1 => Just(0usize), 6 => 1..9usize, 2 => 9..60usize];
    let batches = prop::collection::vec(prop::collection::vec(length, 0..40), 2..6);
    (0..variants(1, 1).len(), 1..40usize, batches, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_row_of_batches_is_as_on_devices_of_their_own((variant, hidden, batches, poisons) in rows_of_batches()) {
        let used = cpu();
        for (index, lengths) in batches.iter().enumerate() {
            let (name, builder) = variants(5, hidden).swap_remove(variant);
            let config = arranged(builder, variant + index).build().unwrap();
            let problem = Problem::generate(config, lengths, index as u64);
            for mode in [GradientMode::Save, GradientMode::Recompute] {
                if poisons {
                    poison(used.as_ref());
                }
                let expected = answer(&problem, &cpu(), mode);
                prop_assert!(answer(&problem, &used, mode) == expected, "{name} {lengths:?}");
            }
        }
    }
}

/// A large batch, whose chunks of time replace their rows of the gates one after the other.
#[test]
fn chunks_of_time_ignore_what_their_memory_holds() {
    let config = wgpu_rnn::RnnConfig::lstm(8, 128).layers(2).build().unwrap();
    let lengths: Vec<usize> = (0..64).map(|sequence| 40 + 7 * sequence % 90).collect();
    let problem = Problem::generate(config, &lengths, 3);
    let used = cpu();
    let expected = answer(&problem, &used, GradientMode::Save);
    poison(used.as_ref());
    assert!(answer(&problem, &used, GradientMode::Save) == expected);
    check_poisoned("chunks", &problem, GradientMode::Save);
}

/// What a program does not write is zero, before it runs, after it ran, and in whatever order its sections run.
#[test]
fn a_loaded_program_is_zeros() {
    for (name, device) in devices() {
        let mut program = Program::new();
        let roles = [
            Role::Input,
            Role::Output,
            Role::Activation,
            Role::Workspace,
            Role::Packed,
        ];
        let buffers = roles.map(|role| program.buffer("zeros", 1_000, role));
        for buffer in buffers {
            let fill = |offset, len| Fill {
                target: wgpu_rnn::ops::Region::from(buffer).at(offset),
                len,
                value: 2.0,
            };
            program.push(Section::Forward, fill(100, 300));
            program.push(Section::Backward, fill(300, 200));
        }
        let expected = |ranges: &[std::ops::Range<usize>]| -> Vec<f32> {
            let within = |at: &usize| ranges.iter().any(|range| range.contains(at));
            (0..1_000)
                .map(|at| if within(&at) { 2.0 } else { 0.0 })
                .collect()
        };
        for sections in [
            &[][..],
            &[Section::Forward],
            &[Section::Backward],
            &[Section::Backward, Section::Forward, Section::Backward],
        ] {
            poison(device.as_ref());
            let mut plan = device.load(program.clone(), &[]).unwrap();
            plan.run_all(sections).unwrap();
            let ranges: Vec<_> = { sections.iter() }
                .map(|section| match section {
                    Section::Forward => 100..400,
                    _ => 300..500,
                })
                .collect();
            for buffer in buffers {
                let mut values = vec![1.0; 1_000];
                plan.read(buffer, &mut values).unwrap();
                assert_eq!(values, expected(&ranges), "{name} {sections:?}");
            }
        }
    }
}

#[test]
fn threads_share_a_device() {
    let device = cpu();
    let problems: Vec<Problem> = { 0..6 }
        .map(|index| {
            let config = wgpu_rnn::RnnConfig::gru(6, 20).layers(2).build().unwrap();
            let lengths: Vec<usize> = (0..8).map(|row| (row * (index + 3)) % 23).collect();
            Problem::generate(config, &lengths, index as u64)
        })
        .collect();
    let expected: Vec<_> = { problems.iter() }
        .map(|problem| answer(problem, &cpu(), GradientMode::Save))
        .collect();
    poison(device.as_ref());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (device, problems, expected) = (&device, &problems, &expected);
            scope.spawn(move || {
                for round in 0..30 {
                    let at = (round + 2 * thread) % problems.len();
                    let got = answer(&problems[at], device, GradientMode::Save);
                    assert!(got == expected[at], "thread {thread}, round {round}");
                }
            });
        }
    });
}

#[test]
fn what_is_kept_is_reported_bounded_and_released() {
    let device = CpuDevice::new().unwrap();
    assert_eq!(device.pooled_bytes(), 0);
    let load = |len| {
        let mut program = Program::new();
        program.buffer("memory", len, Role::Workspace);
        device.load(program, &[])
    };
    let plans = [100_000, 50_000].map(|len| load(len).unwrap());
    let bytes: u64 = plans.iter().map(|plan| plan.bytes()).sum();
    assert_eq!((device.pooled_bytes(), bytes), (0, 600_000));
    drop(plans);
    let kept = device.pooled_bytes();
    assert!(kept >= bytes && kept <= bytes + bytes / 15, "{kept}");
    // Ever smaller plans, of which none fits the memory of another: with what is kept they are never more than that.
    for len in (1..40).map(|part| 90_000 / part) {
        let plan = load(len).unwrap();
        assert!(device.pooled_bytes() + plan.bytes() <= kept);
    }
    // Buffers of their own are not kept.
    drop(device.buffer("own", 1_000_000).unwrap());
    assert!(device.pooled_bytes() <= kept);
    // What cannot be had takes nothing away from what comes next.
    let refused = load(usize::MAX).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::OutOfMemory(_)), "{refused}");
    drop(load(1_000).unwrap());
    assert!(device.pooled_bytes() > 0);
    let living = load(1_000).unwrap();
    device.release_pooled();
    assert_eq!(device.pooled_bytes(), 0);
    drop(living);
    assert!(device.pooled_bytes() >= 4_000);
}
