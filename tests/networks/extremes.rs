//! Long sequences, many sequences, extreme values and repeatability, on every device and strategy.

use crate::common::{Oracle, Problem, check, devices, solve_and_check};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{
    Activation, Activations, Direction, Mode, OutputGradient, PackedBatch, RnnConfig, State,
};

/// Every device gives the reference's answer.
fn all_agree(problem: &Problem, modes: &[GradientMode]) {
    let oracle = Oracle::new(problem);
    for (name, device) in devices() {
        for &mode in modes {
            solve_and_check(name, &oracle, device, mode).unwrap();
        }
    }
}

/// More loop iterations than Mesa's software adapter grants an invocation.
#[test]
fn many_steps_of_a_wide_layer() {
    let config = RnnConfig::lstm(4, 128).build().unwrap();
    let problem = Problem::generate(config, &[5_000, 3], 1);
    all_agree(&problem, &[GradientMode::Save]);
}

/// More steps than a dispatch dimension has workgroups.
#[test]
fn more_steps_than_sixteen_bits() {
    let config = RnnConfig::gru(2, 8).build().unwrap();
    let mut problem = Problem::generate(config, &[70_000], 2);
    // A loss on the end only: a sum over 70,000 outputs would drown the comparison in its own size.
    problem.up.y = None;
    all_agree(&problem, &[GradientMode::Save]);
}

#[test]
fn thousands_of_sequences() {
    let config = RnnConfig::gru(2, 3)
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap();
    let lengths: Vec<usize> = (0..6_000).map(|index| index * 7 % 5).collect();
    all_agree(
        &Problem::generate(config, &lengths, 3),
        &[GradientMode::Save, GradientMode::Recompute],
    );
}

/// With a linear activation nothing saturates, so an error anywhere in a long chain shows at its end.
#[test]
fn long_linear_chains() {
    let linear = Activations {
        candidate: Activation::Linear,
        ..Activations::default()
    };
    let config = RnnConfig::elman(3, 6).activations(linear).build().unwrap();
    let mut problem = Problem::generate(config, &[1_500, 900, 1_500, 1], 4);
    // A rotation in three planes keeps the chain's size: neither growth nor decay hides an error.
    let mut rotation = vec![0.0; 36];
    for (plane, angle) in [0.3f32, 1.1, 2.0].into_iter().enumerate() {
        let at = 14 * plane;
        (rotation[at], rotation[at + 1]) = (angle.cos(), -angle.sin());
        (rotation[at + 6], rotation[at + 7]) = (angle.sin(), angle.cos());
    }
    problem.parameters.set("weight_hh_l0", &rotation).unwrap();
    all_agree(&problem, &[GradientMode::Save, GradientMode::Recompute]);
}

#[test]
fn saturated_gates_and_huge_cell_states() {
    for scale in [30.0, 1e4] {
        let config = RnnConfig::lstm(3, 5).layers(2).build().unwrap();
        let mut problem = Problem::generate(config, &[6, 3, 0], 5);
        let state = problem.initial.as_mut().unwrap();
        for (index, c) in state.c.iter_mut().enumerate() {
            *c = if index % 2 == 0 { scale } else { -scale };
        }
        for weight in problem.parameters.data_mut() {
            *weight *= scale;
        }
        all_agree(&problem, &[GradientMode::Save]);
    }
}

#[test]
fn the_largest_number_as_input() {
    for config in [
        RnnConfig::lstm(2, 4),
        RnnConfig::gru(2, 4),
        RnnConfig::elman(2, 4),
    ] {
        let mut problem = Problem::generate(config.build().unwrap(), &[3, 2], 6);
        let packing = problem.batch.packing().clone();
        let mut x = problem.batch.data().to_vec();
        x[0] = f32::MAX;
        x[5] = -f32::MAX;
        problem.batch = PackedBatch::new(packing, 2, x).unwrap();
        for (name, device) in devices() {
            let mut rnn = problem.rnn(device).unwrap();
            let output = rnn.infer(&problem.batch, problem.initial.as_ref()).unwrap();
            let (expected, _) = problem.expected::<f64>();
            for (got, expected) in output.y.iter().zip(&expected.y) {
                let difference = (f64::from(*got) - expected).abs();
                // All states are bounded by 1; ten steps' rounding.
                assert!(
                    difference < 16.0 * f64::from(f32::EPSILON),
                    "{name}: {got} instead of {expected}"
                );
            }
        }
    }
}

/// Not a number stays in its own sequence: outputs, final states, input and state gradients of the others are untouched.
#[test]
fn nan_stays_in_its_sequence() {
    let configs = [
        RnnConfig::lstm(2, 5)
            .layers(2)
            .direction(Direction::BidirectionalConcat),
        RnnConfig::gru(2, 5).layer_norm(wgpu_rnn::LayerNormKind::WholeThenSum, 1e-5),
        RnnConfig::lstm(2, 5).layer_norm(wgpu_rnn::LayerNormKind::PerGate, 1e-5),
        RnnConfig::elman(2, 5),
    ];
    for config in configs {
        let clean = Problem::generate(config.build().unwrap(), &[5, 5, 4, 5, 2], 7);
        let mut dirty = clean.clone();
        let mut sequences = clean.batch.to_sequences();
        sequences[1][4] = f32::NAN;
        dirty.batch = PackedBatch::from_sequences(2, &sequences).unwrap();
        for (name, device) in devices() {
            let (output, gradients) = clean.solve(device, GradientMode::Save).unwrap();
            let (with_nan, nan_gradients) = dirty.solve(device, GradientMode::Save).unwrap();
            let packing = clean.batch.packing();
            let by_sequence = |rows: &[f32]| {
                let width = rows.len() / packing.tokens();
                PackedBatch::new(packing.clone(), width, rows.to_vec())
                    .unwrap()
                    .to_sequences()
            };
            let pairs = [(&output.y, &with_nan.y), (&gradients.x, &nan_gradients.x)];
            for (clean, dirty) in pairs {
                let (clean, dirty) = (by_sequence(clean), by_sequence(dirty));
                assert!(
                    dirty[1].iter().any(|v| v.is_nan()),
                    "{name}: the NaN is gone"
                );
                for sequence in [0, 2, 3, 4] {
                    assert_eq!(
                        clean[sequence], dirty[sequence],
                        "{name}: sequence {sequence}"
                    );
                }
            }
        }
    }
}

/// The same bits from run to run, and from plan to plan.
#[test]
fn runs_repeat_bit_for_bit() {
    let config = RnnConfig::lstm(3, 20)
        .layers(2)
        .direction(Direction::BidirectionalConcat)
        .dropout(crate::common::DROPOUT)
        .build()
        .unwrap();
    let lengths: Vec<usize> = (0..40).map(|index| 3 + index * 5 % 17).collect();
    let mut problem = Problem::generate(config, &lengths, 8);
    problem.mode = Mode::Training;
    for (name, device) in devices() {
        let mut rnn = problem.rnn(device).unwrap();
        let mut run = || {
            let output = rnn
                .forward(&problem.batch, problem.initial.as_ref(), Mode::Training)
                .unwrap();
            (output, rnn.backward(&problem.up).unwrap())
        };
        let first = run();
        assert_eq!(first, run(), "{name}: second run of the same plan");
        assert_eq!(
            first,
            problem.solve(device, GradientMode::Save).unwrap(),
            "{name}: another plan"
        );
        check(&Oracle::new(&problem), &first, device).unwrap();
    }
}

/// Truncated backpropagation: two chunks with the state carried over compute the same outputs as one run, and the second
/// chunk's gradients are those of a run that starts from that state.
#[test]
fn chunks_with_carried_state() {
    let config = RnnConfig::lstm(2, 5).layers(2).build().unwrap();
    let whole = Problem::generate(config.clone(), &[8, 8, 8], 9);
    let sequences = whole.batch.to_sequences();
    let part = |from: usize, to: usize| {
        let cut: Vec<Vec<f32>> = sequences
            .iter()
            .map(|rows| rows[2 * from..2 * to].to_vec())
            .collect();
        PackedBatch::from_sequences(2, &cut).unwrap()
    };
    for (name, device) in devices() {
        let mut rnn = whole.rnn(device).unwrap();
        let expected = rnn.infer(&whole.batch, whole.initial.as_ref()).unwrap();
        let first = rnn.infer(&part(0, 5), whole.initial.as_ref()).unwrap();
        let mut second = Problem {
            batch: part(5, 8),
            initial: Some(first.state.clone()),
            ..whole.clone()
        };
        second.up.y = None;
        let output = rnn
            .forward(&second.batch, second.initial.as_ref(), Mode::Evaluation)
            .unwrap();
        let joined = [first.y, output.y.clone()].concat();
        let differences = joined.iter().zip(&expected.y).map(|(a, b)| (a - b).abs());
        assert!(
            differences.fold(0.0, f32::max) < 16.0 * f32::EPSILON,
            "{name}"
        );
        let gradients = rnn.backward(&second.up).unwrap();
        check(&Oracle::new(&second), &(output, gradients), device).unwrap();
    }
}

/// Each of y, h_n and c_n alone as the loss, and none at all.
#[test]
fn a_loss_on_any_part() {
    let config = RnnConfig::lstm(2, 4)
        .direction(Direction::BidirectionalSum)
        .build()
        .unwrap();
    let full = Problem::generate(config, &[3, 0, 5], 10);
    let OutputGradient { y, h, c } = full.up.clone();
    let losses = [
        OutputGradient {
            y,
            ..Default::default()
        },
        OutputGradient {
            h,
            ..Default::default()
        },
        OutputGradient {
            c,
            ..Default::default()
        },
        OutputGradient::default(),
    ];
    for up in losses {
        all_agree(
            &Problem { up, ..full.clone() },
            &[GradientMode::Save, GradientMode::Recompute],
        );
    }
}

/// No sequence, only empty sequences, and no initial state.
#[test]
fn empty_batches() {
    for lengths in [&[][..], &[0], &[0, 0, 0], &[2, 0]] {
        for config in [
            RnnConfig::lstm(2, 4).projection(3, true).layers(2),
            RnnConfig::gru(2, 4),
        ] {
            let mut problem = Problem::generate(config.build().unwrap(), lengths, 11);
            all_agree(&problem, &[GradientMode::Save, GradientMode::Recompute]);
            problem.initial = None;
            all_agree(&problem, &[GradientMode::Save]);
            let zeros = State::<f32>::zeros(&problem.config, lengths.len()).unwrap();
            problem.initial = Some(zeros);
            all_agree(&problem, &[GradientMode::Save]);
        }
    }
}

/// Gradients add up over calls if asked, and start from zero again.
#[test]
fn gradients_accumulate() {
    let config = RnnConfig::gru(2, 4).layers(2).build().unwrap();
    let problem = Problem::generate(config, &[3, 0, 5], 12);
    for (name, device) in devices() {
        let mut rnn = problem.rnn(device).unwrap();
        let mut run = |accumulate: bool| {
            rnn.set_accumulate(accumulate);
            let initial = problem.initial.as_ref();
            rnn.forward(&problem.batch, initial, Mode::Evaluation)
                .unwrap();
            rnn.backward(&problem.up).unwrap()
        };
        let once = run(false);
        let twice = run(true);
        assert_eq!(run(false), once, "{name}: overwritten");
        for (two, one) in twice.parameters.iter().zip(&once.parameters) {
            assert_eq!(*two, 2.0 * one, "{name}");
        }
        assert_eq!(twice.x, once.x, "{name}: only parameters accumulate");
        rnn.zero_gradients().unwrap();
        rnn.set_accumulate(true);
        rnn.forward(&problem.batch, problem.initial.as_ref(), Mode::Evaluation)
            .unwrap();
        assert_eq!(
            rnn.backward(&problem.up).unwrap(),
            once,
            "{name}: from zero"
        );
    }
}
