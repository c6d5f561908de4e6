//! Initial weights: orthogonal ones at right angles, drawn ones of the right size, biases where they belong.

use wgpu_rnn::{
    Coupled, Error, Initial, LayerNormKind, ParameterKind, Parameters, RnnConfig, RnnConfigBuilder,
    WeightInitial,
};

fn drawn(builder: RnnConfigBuilder, initial: Initial, seed: u64) -> Parameters {
    let config = builder.build().unwrap();
    Parameters::initial(&config, &initial, seed).unwrap()
}

fn weights(kind: WeightInitial) -> Initial {
    Initial {
        input: kind,
        recurrent: kind,
        ..Initial::default()
    }
}

/// The gates of all matrices of a kind, with rows and columns.
fn gates(
    parameters: &Parameters,
    kind: ParameterKind,
    hidden: usize,
) -> Vec<(Vec<f64>, [usize; 2])> {
    let entries = parameters.layout().entries().iter();
    let of_kind = entries.filter(|entry| entry.kind == kind);
    let matrices = of_kind.flat_map(|entry| {
        let columns = entry.shape[1];
        let values = &parameters.data()[entry.offset..][..entry.len()];
        let gates = values.chunks(hidden * columns);
        gates.map(move |gate| {
            let gate = gate.iter().map(|&value| value.into()).collect();
            (gate, [hidden, columns])
        })
    });
    matrices.collect()
}

#[test]
fn orthogonal_weights_are_at_right_angles() {
    let builders = [
        (RnnConfig::elman(1, 1), 1),
        (RnnConfig::gru(7, 33).layers(2), 33),
        (RnnConfig::lstm(200, 64), 64),
        (RnnConfig::lstm(5, 48).projection(20, true), 48),
    ];
    for (builder, hidden) in builders {
        let parameters = drawn(builder, weights(WeightInitial::Orthogonal), 3);
        let kinds = [ParameterKind::WeightRecurrent, ParameterKind::WeightInput];
        for kind in kinds {
            for (gate, [rows, columns]) in gates(&parameters, kind, hidden) {
                let vector = |index: usize| -> Vec<f64> {
                    match rows <= columns {
                        true => gate[index * columns..][..columns].to_vec(),
                        false => (0..rows).map(|row| gate[row * columns + index]).collect(),
                    }
                };
                let count = rows.min(columns);
                for first in 0..count {
                    for second in 0..=first {
                        let (a, b) = (vector(first), vector(second));
                        let dot: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
                        let expected = f64::from(u8::from(first == second));
                        // Both vectors were rounded to f32: by half a unit an element, so at most by that much of 1 each.
                        let bound = 2.0 * 2f64.powi(-24) + 1e-12;
                        assert!((dot - expected).abs() <= bound, "{first}, {second}: {dot}");
                    }
                }
            }
        }
    }
}

#[test]
fn drawn_weights_have_the_size_that_was_asked_for() {
    let (inputs, hidden) = (96, 64);
    let sizes = [
        (WeightInitial::Uniform, 1.0 / 64.0 / 3.0, 1.0 / 64.0 / 3.0),
        (WeightInitial::XavierUniform, 2.0 / 160.0, 2.0 / 128.0),
        (WeightInitial::XavierNormal, 2.0 / 160.0, 2.0 / 128.0),
        (WeightInitial::KaimingUniform, 2.0 / 96.0, 2.0 / 64.0),
        (WeightInitial::KaimingNormal, 2.0 / 96.0, 2.0 / 64.0),
    ];
    for (kind, of_input, of_recurrent) in sizes {
        let parameters = drawn(RnnConfig::gru(inputs, hidden), weights(kind), 5);
        for (matrix, variance) in [
            (ParameterKind::WeightInput, of_input),
            (ParameterKind::WeightRecurrent, of_recurrent),
        ] {
            for (gate, _) in gates(&parameters, matrix, hidden) {
                let count = gate.len() as f64;
                let mean = gate.iter().sum::<f64>() / count;
                let square = gate.iter().map(|value| value * value).sum::<f64>() / count;
                let largest = gate.iter().fold(0f64, |most, value| most.max(value.abs()));
                // Five standard errors; the square of a normal number has the variance 2, that of a uniform one 0.8.
                assert!(
                    mean.abs() < 5.0 * (variance / count).sqrt(),
                    "{kind:?}: {mean}"
                );
                let spread = 5.0 * variance * (2.0 / count).sqrt();
                assert!((square - variance).abs() < spread, "{kind:?}: {square}");
                let uniform = matches!(
                    kind,
                    WeightInitial::Uniform
                        | WeightInitial::XavierUniform
                        | WeightInitial::KaimingUniform
                );
                assert_eq!(largest <= (3.0 * variance).sqrt() * (1.0 + 1e-7), uniform);
            }
        }
    }
}

#[test]
fn the_rest_starts_as_it_does_least() {
    let initial = Initial {
        forget_bias: 1.5,
        ..Initial::default()
    };
    let norm = RnnConfig::lstm(2, 4).layer_norm(LayerNormKind::WholeThenSum, 1e-5);
    for builder in [
        RnnConfig::lstm(2, 4).layers(2),
        norm,
        RnnConfig::gru(2, 4),
        RnnConfig::lstm(2, 4).peephole(wgpu_rnn::Peephole::New),
    ] {
        let config = builder.build().unwrap();
        let parameters = Parameters::initial(&config, &initial, 1).unwrap();
        let is_lstm = config.spec().cell == wgpu_rnn::Cell::Lstm;
        for entry in parameters.layout().entries() {
            let values = &parameters.data()[entry.offset..][..entry.len()];
            use ParameterKind as Kind;
            match entry.kind {
                Kind::WeightInput | Kind::WeightRecurrent | Kind::WeightProjection => {
                    assert!(values.iter().all(|value| *value != 0.0));
                }
                Kind::NormInput | Kind::NormRecurrent | Kind::NormCellWeight => {
                    assert!(values.iter().all(|value| *value == 1.0));
                }
                Kind::BiasInput if is_lstm => {
                    for (index, value) in values.iter().enumerate() {
                        let forget = (4..8).contains(&index);
                        assert_eq!(*value, if forget { 1.5 } else { 0.0 });
                    }
                }
                _ => assert!(values.iter().all(|value| *value == 0.0), "{}", entry.name),
            }
        }
    }
}

#[test]
fn a_seed_gives_the_same_and_another_others() {
    let config = || RnnConfig::lstm(3, 5).layers(2);
    let one = drawn(config(), Initial::default(), 1);
    assert_eq!(one, drawn(config(), Initial::default(), 1));
    let other = drawn(config(), Initial::default(), 2);
    assert_ne!(one, other);
    // The same on every machine: whoever changes what is drawn changes what was trained before.
    let bits: Vec<u32> = one.data()[..3]
        .iter()
        .map(|value| value.to_bits())
        .collect();
    assert_eq!(bits, FIRST_BITS);
    // No two gates or layers are alike.
    let gates = gates(&one, ParameterKind::WeightRecurrent, 5);
    for (index, (gate, _)) in gates.iter().enumerate() {
        assert!(gates[..index].iter().all(|(before, _)| before != gate));
    }
}

const FIRST_BITS: [u32; 3] = [1_058_523_958, 1_058_108_624, 1_050_092_027];

#[test]
fn a_forget_bias_without_its_gate_is_refused() {
    let refused = |builder: RnnConfigBuilder, forget_bias| {
        let initial = Initial {
            forget_bias,
            ..Initial::default()
        };
        let config = builder.build().unwrap();
        matches!(
            Parameters::initial(&config, &initial, 1),
            Err(Error::Option {
                option: "forget_bias",
                ..
            })
        )
    };
    let bare = || RnnConfig::lstm(2, 3).bias(wgpu_rnn::Bias::None);
    let coupled = || RnnConfig::lstm(2, 3).coupled(Coupled::ForgetFromInput);
    for builder in [bare, coupled] {
        assert!(refused(builder(), 1.0));
        assert!(!refused(builder(), 0.0));
    }
    assert!(refused(RnnConfig::gru(2, 3), f32::NAN));
    assert!(!refused(RnnConfig::gru(2, 3), 1.0));
}
