//! The recurrent operations of the CPU device: whole networks of every variant against the reference in `f64`.

use std::sync::Arc;

use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
use wgpu_rnn::ops::{Program, Region, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions, Rnn};
use wgpu_rnn::*;

/// Values in [-1, 1) from a small generator, seeded.
fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 40) as f32 - 8_388_608.0) / 8_388_608.0
    };
    (0..len).map(|_| next()).collect()
}

fn sizes(output: &Output) -> [usize; 3] {
    [output.y.len(), output.state.h.len(), output.state.c.len()]
}

/// Everything that goes into a run.
struct Case {
    name: String,
    config: RnnConfig,
    lengths: Vec<usize>,
    mode: Mode,
}

impl Case {
    fn weights(&self) -> Parameters {
        let mut weights = Parameters::uniform(&self.config, 5).unwrap();
        // Off their defaults, so that no scale is 1 and no bias 0; large enough that clips and saturation are met.
        let noise = values(6, weights.data().len());
        for (weight, noise) in weights.data_mut().iter_mut().zip(noise) {
            *weight += 0.3 * noise;
        }
        weights
    }

    fn state(&self) -> State {
        let batch = self.lengths.len();
        let zeros = State::<f32>::zeros(&self.config, batch).unwrap();
        State {
            h: values(7, zeros.h.len()),
            c: values(8, zeros.c.len()),
        }
    }

    fn batch(&self) -> PackedBatch {
        let packing = Arc::new(Packing::new(&self.lengths).unwrap());
        let features = self.config.input_size();
        let x = values(9, packing.tokens() * features);
        PackedBatch::new(packing, features, x).unwrap()
    }

    /// The gradient of a loss on everything that comes out, of sizes `y`, `h_n` and `c_n`.
    fn loss(&self, [y, h, c]: [usize; 3]) -> OutputGradient {
        OutputGradient {
            y: Some(values(10, y)),
            h: Some(values(11, h)),
            c: Some(values(12, c)),
        }
    }

    /// Output and gradients of the CPU device.
    fn run(&self, options: &CpuOptions, mode: GradientMode, chunk: usize) -> (Output, Gradients) {
        let device = Arc::new(CpuDevice::with_options(options).unwrap());
        let mut rnn = Rnn::new(device, self.config.clone(), &self.weights()).unwrap();
        rnn.set_seed(99);
        rnn.set_gradient_mode(mode);
        rnn.set_chunk_rows(chunk);
        let output = rnn
            .forward(&self.batch(), Some(&self.state()), self.mode)
            .unwrap();
        let gradients = rnn.backward(&self.loss(sizes(&output))).unwrap();
        (output, gradients)
    }

    /// Layers whose backward is done tile by tile as one.
    fn layers_by_tiles(&self) -> usize {
        let device = CpuDevice::with_threads(2).unwrap();
        let mut program = Program::new();
        let len = self.weights().data().len();
        let [parameters, gradients] =
            ["parameters", "gradients"].map(|label| program.buffer(label, len, Role::External));
        let options = NetworkOptions {
            gradients: Some(GradientMode::Save),
            ..NetworkOptions::on(&device)
        };
        let packing = Arc::new(Packing::new(&self.lengths).unwrap());
        let [place, gradient] = [parameters, gradients].map(Region::from);
        let network = Network::new(
            &mut program,
            &self.config,
            &packing,
            &options,
            place,
            Some(gradient),
        )
        .unwrap();
        network.forward(&mut program).unwrap();
        network.backward(&mut program).unwrap();
        let external =
            [parameters, gradients].map(|id| (id, device.buffer("weights", len).unwrap()));
        let mut plan = device.load(program, &external).unwrap();
        let spans = plan.profile(Section::Backward).unwrap();
        let by_tiles = spans.iter().filter(|span| span.label == "layer_backward");
        by_tiles.count()
    }

    /// The reference in `T`: everything that comes out, by name.
    /// `number` makes a `T` of a value and its index in its tensor.
    fn reference<T: reference::Float>(
        &self,
        number: impl Fn(f32, usize) -> T,
    ) -> Vec<(String, Vec<T>)> {
        let wide = |values: &[f32]| -> Vec<T> {
            values
                .iter()
                .enumerate()
                .map(|(index, &value)| number(value, index))
                .collect()
        };
        let (weights, batch, state) = (self.weights(), self.batch(), self.state());
        let initial = State {
            h: wide(&state.h),
            c: wide(&state.c),
        };
        let (output, tape) = reference::forward(
            &self.config,
            &wide(weights.data()),
            batch.packing(),
            &wide(batch.data()),
            Some(&initial),
            self.mode,
            99,
        )
        .unwrap();
        let loss = self.loss([output.y.len(), state.h.len(), state.c.len()]);
        let loss = OutputGradient {
            y: loss.y.as_deref().map(&wide),
            h: loss.h.as_deref().map(&wide),
            c: loss.c.as_deref().map(&wide),
        };
        let gradients = reference::backward(&tape, &loss).unwrap();
        self.named(output, gradients)
    }

    /// Outputs, and gradients parameter by parameter.
    fn named<T: Copy>(&self, output: Output<T>, gradients: Gradients<T>) -> Vec<(String, Vec<T>)> {
        let mut named: Vec<(String, Vec<T>)> = [
            ("y", output.y),
            ("h_n", output.state.h),
            ("c_n", output.state.c),
            ("d_x", gradients.x),
            ("d_h0", gradients.state.h),
            ("d_c0", gradients.state.c),
        ]
        .map(|(name, values)| (name.to_owned(), values))
        .into();
        for entry in self.weights().layout().entries() {
            let place = entry.offset..entry.offset + entry.len();
            named.push((entry.name.clone(), gradients.parameters[place].to_vec()));
        }
        named
    }

    /// Compares with the reference in `f64`. The tolerance is what rounding does to this very case: four times the worst
    /// difference that the reference shows when it computes in `f32`, or in `f64` with every number that goes in off by one
    /// rounding at random (the device rounds more often, in another order); and at least 64 roundings. All of it is
    /// relative to the largest element of a tensor.
    fn check(&self) {
        self.check_with_chunks(7);
    }

    /// Likewise, with so many rows in a chunk where gates are recomputed.
    fn check_with_chunks(&self, chunk: usize) {
        let exact = self.reference(|value, _| f64::from(value));
        let named = |rounded: Vec<(String, Vec<f32>)>| {
            let pairs = exact.iter().zip(rounded);
            let differences = pairs.map(|((_, exact), (_, rounded))| worst(&rounded, exact));
            differences.fold(0.0, f64::max)
        };
        let mut noise = named(self.reference(|value, _| value));
        for draw in 0..3 {
            let perturbed = self.reference(|value, index| {
                let sign = values(draw * 1_000_003 + index as u64, 1)[0].signum();
                f64::from(value) * (1.0 + f64::from(sign * f32::EPSILON) / 2.0)
            });
            let narrow = |(name, values): (String, Vec<f64>)| {
                (name, values.into_iter().map(|value| value as f32).collect())
            };
            noise = noise.max(named(perturbed.into_iter().map(narrow).collect()));
        }
        let tolerance = (4.0 * noise).max(64.0 * f64::from(f32::EPSILON) / 2.0);
        // A case that loses all digits would prove nothing.
        assert!(
            tolerance < 2e-2,
            "{}: badly conditioned, {tolerance:e}",
            self.name
        );
        for set in Instructions::available() {
            self.check_on(set, chunk, (&exact, tolerance));
        }
    }

    /// Compares an instruction set's results, of either way to keep gates, with the exact ones.
    fn check_on(
        &self,
        set: Instructions,
        chunk: usize,
        (exact, tolerance): (&[(String, Vec<f64>)], f64),
    ) {
        let run = |threads: usize, mode, chunk| {
            let options = CpuOptions::new().threads(threads).instructions(set);
            self.run(&options, mode, chunk)
        };
        let saved = run(1, GradientMode::Save, 4096);
        assert!(
            run(4, GradientMode::Save, 4096) == saved,
            "{}, {set}: another number of threads, other results",
            self.name
        );
        let recomputed = run(3, GradientMode::Recompute, chunk);
        for (run, (output, gradients)) in [("saved", saved), ("recomputed", recomputed)] {
            for ((what, got), (_, exact)) in self.named(output, gradients).iter().zip(exact) {
                let difference = worst(got, exact);
                assert!(
                    difference <= tolerance,
                    "{}, {set}, {run}: {what} is off by {difference:e}, tolerance {tolerance:e}",
                    self.name
                );
            }
        }
    }
}

/// The largest difference relative to the largest element, at least 1; NaN counts as infinite.
fn worst(got: &[f32], exact: &[f64]) -> f64 {
    assert_eq!(got.len(), exact.len());
    let largest = exact.iter().fold(1.0f64, |largest, v| largest.max(v.abs()));
    let differences = got.iter().zip(exact).map(|(&got, &exact)| {
        let difference = (f64::from(got) - exact).abs() / largest;
        if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        }
    });
    differences.fold(0.0, f64::max)
}

fn variants() -> Vec<(&'static str, RnnConfigBuilder)> {
    use LayerNormKind::{PerGate, WholeThenSum};
    let elman = || RnnConfig::elman(3, 5);
    let lstm = || RnnConfig::lstm(3, 5);
    let gru = || RnnConfig::gru(3, 5);
    let activations = |gate, candidate, hidden| Activations {
        gate,
        candidate,
        hidden,
    };
    let clip = Clip {
        gates: Some(0.7),
        cell: Some(0.6),
        hidden: Some(0.4),
        projection: Some(0.2),
    };
    let gates_only = Clip {
        gates: Some(0.5),
        ..Clip::default()
    };
    let no_projection = Clip {
        projection: None,
        ..clip
    };
    let relu = activations(Activation::Sigmoid, Activation::Relu, Activation::Tanh);
    let odd = activations(
        Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Activation::Softsign,
        Activation::ScaledTanh {
            alpha: 1.7,
            beta: 0.6,
        },
    );
    let zoneout = |hidden, cell| Zoneout { hidden, cell };
    vec![
        ("elman", elman()),
        (
            "elman relu, clip, no bias",
            elman().activations(relu).clip(gates_only).bias(Bias::None),
        ),
        ("elman zoneout", elman().zoneout(zoneout(0.3, 0.0))),
        ("lstm", lstm()),
        (
            "lstm one bias, odd activations",
            lstm().bias(Bias::One).activations(odd),
        ),
        (
            "lstm activations of each",
            lstm().activations_of_each([odd, Activations::default()]),
        ),
        ("lstm peephole new", lstm().peephole(Peephole::New)),
        ("lstm peephole old", lstm().peephole(Peephole::Old)),
        (
            "lstm coupled f",
            lstm()
                .coupled(Coupled::ForgetFromInput)
                .peephole(Peephole::New),
        ),
        (
            "lstm coupled i",
            lstm()
                .coupled(Coupled::InputFromForget)
                .peephole(Peephole::Old),
        ),
        (
            "lstm clip",
            lstm().clip(no_projection).peephole(Peephole::New),
        ),
        ("lstm projection", lstm().projection(2, false)),
        (
            "lstm projection, wider, bias, clip",
            lstm().projection(7, true).clip(clip),
        ),
        (
            "lstm projection, zoneout",
            lstm().projection(4, true).zoneout(zoneout(0.2, 0.4)),
        ),
        ("lstm zoneout", lstm().zoneout(zoneout(0.2, 0.4))),
        ("lstm whole norm", lstm().layer_norm(WholeThenSum, 1e-3)),
        (
            "lstm whole norm, clip, zoneout",
            lstm()
                .layer_norm(WholeThenSum, 1e-3)
                .clip(no_projection)
                .zoneout(zoneout(0.2, 0.3)),
        ),
        ("lstm per gate", lstm().layer_norm(PerGate, 1e-3)),
        (
            "lstm per gate, no bias",
            lstm().layer_norm(PerGate, 1e-3).bias(Bias::None),
        ),
        (
            "lstm per gate, all",
            lstm()
                .layer_norm(PerGate, 1e-3)
                .peephole(Peephole::New)
                .projection(3, true)
                .clip(clip),
        ),
        (
            "lstm per gate, coupled",
            lstm()
                .layer_norm(PerGate, 1e-3)
                .peephole(Peephole::Old)
                .coupled(Coupled::InputFromForget),
        ),
        ("gru", gru()),
        (
            "gru take new, clip",
            gru().update(GruUpdate::TakeNew).clip(gates_only),
        ),
        ("gru zoneout", gru().zoneout(zoneout(0.3, 0.0))),
        ("gru whole norm", gru().layer_norm(WholeThenSum, 1e-3)),
        (
            "gru whole norm, one bias, clip",
            gru()
                .layer_norm(WholeThenSum, 1e-3)
                .bias(Bias::One)
                .clip(gates_only),
        ),
        ("gru before", gru().reset(GruReset::Before)),
        (
            "gru before, take new, one bias, clip",
            gru()
                .reset(GruReset::Before)
                .update(GruUpdate::TakeNew)
                .bias(Bias::One)
                .clip(gates_only),
        ),
        (
            "gru before, odd activations, zoneout",
            gru()
                .reset(GruReset::Before)
                .activations(odd)
                .zoneout(zoneout(0.3, 0.0)),
        ),
    ]
}

fn shapes() -> Vec<Vec<usize>> {
    vec![vec![3, 0, 5, 1, 3], vec![4, 4], vec![1], vec![6]]
}

/// Every variant in every direction and mode of two layers, over ragged, dense and single sequences.
#[test]
fn every_variant_matches_the_reference() {
    let dropout = Dropout {
        between: 0.3,
        input: 0.2,
        recurrent: 0.4,
    };
    let directions = [
        Direction::Forward,
        Direction::Reverse,
        Direction::BidirectionalConcat,
        Direction::BidirectionalSum,
    ];
    for (variant, builder) in variants() {
        for (index, direction) in directions.into_iter().enumerate() {
            for mode in [Mode::Evaluation, Mode::Training] {
                for lengths in shapes() {
                    // Each direction meets another depth and residual connections in turn.
                    let builder = builder.clone().direction(direction).layers(1 + index % 2);
                    let config = builder
                        .residual(index >= 2)
                        .dropout(dropout)
                        .build()
                        .unwrap();
                    let name = format!("{variant}, {direction:?}, {mode:?}, lengths {lengths:?}");
                    Case {
                        name,
                        config,
                        lengths,
                        mode,
                    }
                    .check();
                }
            }
        }
    }
}

/// Large enough for the steps to be shared out to several threads.
#[test]
fn large_layers_match_the_reference() {
    let lengths: Vec<usize> = (0..70).map(|i| i % 4).collect();
    for (name, builder) in [
        ("elman", RnnConfig::elman(9, 130)),
        ("lstm", RnnConfig::lstm(9, 65)),
        (
            "lstm norm",
            RnnConfig::lstm(9, 65).layer_norm(LayerNormKind::PerGate, 1e-3),
        ),
        ("gru", RnnConfig::gru(9, 65)),
        (
            "gru norm",
            RnnConfig::gru(9, 65).layer_norm(LayerNormKind::WholeThenSum, 1e-3),
        ),
        ("gru before", RnnConfig::gru(9, 65).reset(GruReset::Before)),
    ] {
        let config = builder
            .direction(Direction::BidirectionalConcat)
            .build()
            .unwrap();
        let (name, lengths) = (format!("large {name}"), lengths.clone());
        Case {
            name,
            config,
            lengths,
            mode: Mode::Training,
        }
        .check();
    }
}

/// So many units that sums are taken in several blocks.
#[test]
fn long_sums_match_the_reference() {
    for (name, builder) in [
        ("long lstm", RnnConfig::lstm(5, 517)),
        ("long gru", RnnConfig::gru(5, 521)),
    ] {
        Case {
            name: name.into(),
            config: builder.build().unwrap(),
            lengths: vec![2, 1, 3, 3],
            mode: Mode::Training,
        }
        .check();
    }
}

/// As many sequences as one thread takes through a layer's input products and recurrence at once, and four threads do not: both
/// ways give the same bits, over one block of terms and over several.
#[test]
fn one_pass_over_a_layer_is_the_same_as_two() {
    for (name, builder) in [
        ("elman of many inputs", RnnConfig::elman(600, 20)),
        ("lstm", RnnConfig::lstm(9, 33).layers(2)),
        ("long lstm", RnnConfig::lstm(5, 517)),
        ("gru of many inputs", RnnConfig::gru(521, 33).layers(2)),
    ] {
        for direction in [Direction::Reverse, Direction::BidirectionalConcat] {
            Case {
                name: format!("{name}, {direction:?}"),
                config: builder.clone().direction(direction).build().unwrap(),
                lengths: vec![3, 2, 3, 3, 1, 3, 2, 3, 3],
                mode: Mode::Training,
            }
            .check();
        }
    }
}

/// A single sequence whose input is multiplied for several steps at once where each thread has a direction of its own, and as
/// one product of all steps where there are more threads: the same bits, of whole, odd and too many vectors of units, with
/// steps left over and in several chunks of time.
#[test]
fn a_single_sequence_is_the_same_by_steps_as_by_products() {
    for (name, builder) in [
        ("elman of many inputs", RnnConfig::elman(600, 16)),
        ("lstm", RnnConfig::lstm(9, 33).layers(2)),
        ("lstm of many units", RnnConfig::lstm(5, 261)),
        ("gru", RnnConfig::gru(7, 64).layers(2)),
        ("gru of many inputs", RnnConfig::gru(521, 48)),
    ] {
        for direction in [Direction::Reverse, Direction::BidirectionalConcat] {
            let case = Case {
                name: format!("{name}, {direction:?}, alone"),
                config: builder.clone().direction(direction).build().unwrap(),
                lengths: vec![29],
                mode: Mode::Training,
            };
            case.check_with_chunks(14);
            for (mode, chunk) in [(GradientMode::Save, 4096), (GradientMode::Recompute, 14)] {
                let run = |threads| case.run(&CpuOptions::new().threads(threads), mode, chunk);
                let first = run(1);
                for threads in [2, 4] {
                    let name = &case.name;
                    assert!(run(threads) == first, "{name}, {mode:?}, {threads} threads");
                }
            }
        }
    }
}

/// So many sequences that a tile of them is taken through all of a layer's backward at once: small layers, whole and half
/// vectors of units, several tiles of which the last is not full, sequences without steps, and several chunks of time.
#[test]
fn a_backward_by_tiles_matches_the_reference_on_any_number_of_threads() {
    let ragged = |most: usize| (0..150).map(|i| i * 7 % 29 * most / 28).collect();
    let dense = vec![24; 150];
    let cases: [(&str, RnnConfigBuilder, Vec<usize>); 5] = [
        ("elman", RnnConfig::elman(5, 17), ragged(60)),
        (
            "lstm",
            RnnConfig::lstm(3, 16).residual(true).layers(2),
            ragged(60),
        ),
        ("lstm, several chunks", RnnConfig::lstm(4, 64), ragged(150)),
        ("gru", RnnConfig::gru(3, 17), dense),
        ("gru, several chunks", RnnConfig::gru(5, 48), ragged(110)),
    ];
    for (index, (name, builder, lengths)) in cases.into_iter().enumerate() {
        for direction in [
            [Direction::Forward, Direction::Reverse][index % 2],
            Direction::BidirectionalConcat,
        ] {
            let case = Case {
                name: format!("{name} by tiles, {direction:?}"),
                config: builder.clone().direction(direction).build().unwrap(),
                lengths: lengths.clone(),
                mode: Mode::Training,
            };
            assert_eq!(
                case.layers_by_tiles(),
                case.config.layer_count(),
                "{}",
                case.name
            );
            case.check_with_chunks(2500);
            for (mode, chunk) in [(GradientMode::Save, 4096), (GradientMode::Recompute, 2500)] {
                let run = |threads| case.run(&CpuOptions::new().threads(threads), mode, chunk);
                let first = run(1);
                for threads in [2, 3, 7] {
                    assert!(
                        run(threads) == first,
                        "{}, {mode:?}: another number of threads, other results",
                        case.name
                    );
                }
            }
        }
    }
}

/// Tiles of sequences depend on the number of threads, the results do not: of each variant bit for bit.
#[test]
fn every_variant_is_the_same_on_any_number_of_threads() {
    // So many rows that tiles are made for the threads.
    let lengths: Vec<usize> = (0..93).map(|i| i % 31 * 4).collect();
    for (name, builder) in variants() {
        let dropout = Dropout {
            recurrent: 0.4,
            ..Dropout::default()
        };
        let case = Case {
            name: name.to_owned(),
            config: builder.dropout(dropout).build().unwrap(),
            lengths: lengths.clone(),
            mode: Mode::Training,
        };
        let on = |threads| {
            let options = CpuOptions::new().threads(threads);
            case.run(&options, GradientMode::Save, 1000)
        };
        let (output, gradients) = on(1);
        for threads in [2, 5] {
            let (other, other_gradients) = on(threads);
            assert!(output.y == other.y, "{name}: output");
            assert!(output.state.c == other.state.c, "{name}: states");
            assert!(gradients.x == other_gradients.x, "{name}: d_x");
            let [one, more] = [&gradients, &other_gradients].map(|of| &of.parameters);
            assert!(one == more, "{name}: gradients of parameters");
        }
    }
}

/// A NaN in one sequence stays in it.
#[test]
fn a_nan_stays_in_its_sequence() {
    for (name, builder) in variants() {
        let config = builder
            .direction(Direction::BidirectionalConcat)
            .build()
            .unwrap();
        let lengths = vec![4, 3, 4];
        let case = Case {
            name: name.into(),
            config,
            lengths,
            mode: Mode::Evaluation,
        };
        let clean = case.batch();
        let packing = clean.packing();
        let mut data = clean.data().to_vec();
        let features = case.config.input_size();
        let poisoned = packing.row(1, 1);
        data[poisoned * features] = f32::NAN;
        let batch = PackedBatch::new(packing.clone(), features, data).unwrap();
        for set in Instructions::available() {
            let options = CpuOptions::new().threads(2).instructions(set);
            let device = Arc::new(CpuDevice::with_options(&options).unwrap());
            let mut rnn = Rnn::new(device, case.config.clone(), &case.weights()).unwrap();
            let expected = rnn.forward(&clean, None, Mode::Evaluation).unwrap();
            let got = rnn.forward(&batch, None, Mode::Evaluation).unwrap();
            let gradients = rnn.backward(&case.loss(sizes(&got))).unwrap();
            let width = case.config.output_size();
            for (row, &sequence) in packing.sequence_of_rows().iter().enumerate() {
                let own = sequence as usize == packing.order()[1];
                let place = row * width..(row + 1) * width;
                let d_x = &gradients.x[row * features..(row + 1) * features];
                if !own {
                    assert_eq!(
                        got.y[place.clone()],
                        expected.y[place],
                        "{name}, {set}, row {row}"
                    );
                    assert!(
                        d_x.iter().all(|d| d.is_finite()),
                        "{name}, {set}, row {row}"
                    );
                } else if row == poisoned {
                    assert!(
                        got.y[place].iter().any(|y| y.is_nan()),
                        "{name}, {set}: the NaN got lost"
                    );
                }
            }
        }
    }
}
