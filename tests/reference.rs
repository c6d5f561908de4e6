//! The reference's gradients against finite differences, over generated configurations of every variant.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::cell::{activate, jacobian, pullback};
use wgpu_rnn::reference::{backward, forward};
use wgpu_rnn::{
    Activation, Activations, Bias, Clip, Coupled, Direction, Dropout, Error, Gradients, GruReset,
    GruUpdate, LayerNormKind, Mode, OutputGradient, Packing, ParameterKind, ParameterLayout,
    Peephole, RnnConfig, RnnConfigBuilder, State, Zoneout,
};

const ACTIVATIONS: [Activation; 12] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::Linear,
    Activation::Affine {
        alpha: 0.7,
        beta: -0.2,
    },
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::ThresholdedRelu { alpha: 0.3 },
    Activation::ScaledTanh {
        alpha: 1.3,
        beta: 0.6,
    },
    Activation::HardSigmoid {
        alpha: 0.4,
        beta: 0.5,
    },
    Activation::Elu { alpha: 0.8 },
    Activation::Softsign,
    Activation::Softplus,
];

/// Everything a loss depends on, and the loss: `sum(up * output)`.
struct Problem {
    config: RnnConfig,
    packing: Packing,
    mode: Mode,
    seed: u64,
    x: Vec<f64>,
    initial: State<f64>,
    parameters: Vec<f64>,
    up: OutputGradient<f64>,
}

impl Problem {
    fn generate(config: RnnConfig, lengths: &[usize], random: &mut ChaCha8Rng) -> Self {
        let packing = Packing::new(lengths).unwrap();
        let mut values = |len: usize, bound: f64| -> Vec<f64> {
            (0..len)
                .map(|_| random.random_range(-bound..bound))
                .collect()
        };
        let mut initial = State::zeros(&config, packing.batch()).unwrap();
        initial.h = values(initial.h.len(), 1.0);
        initial.c = values(initial.c.len(), 1.0);
        let layout = ParameterLayout::new(&config).unwrap();
        let x = values(packing.tokens() * config.input_size(), 1.5);
        let mut parameters = values(layout.len(), 0.9);
        for entry in layout.entries() {
            use ParameterKind as Kind;
            if let Kind::NormInput | Kind::NormRecurrent | Kind::NormCellWeight | Kind::NormGates =
                entry.kind
            {
                for value in &mut parameters[entry.offset..entry.offset + entry.len()] {
                    *value = 1.0 + 0.4 * *value;
                }
            }
        }
        let up = OutputGradient {
            y: Some(values(packing.tokens() * config.output_size(), 1.0)),
            h: Some(values(initial.h.len(), 1.0)),
            c: Some(values(initial.c.len(), 1.0)),
        };
        Self {
            config,
            packing,
            mode: Mode::Evaluation,
            seed: 0,
            x,
            initial,
            parameters,
            up,
        }
    }

    fn loss(&self) -> f64 {
        let (output, _) = self.forward();
        let dot = |up: &Option<Vec<f64>>, values: &[f64]| -> f64 {
            let up = up.iter().flatten();
            up.zip(values).map(|(a, b)| a * b).sum()
        };
        dot(&self.up.y, &output.y)
            + dot(&self.up.h, &output.state.h)
            + dot(&self.up.c, &output.state.c)
    }

    fn forward(&self) -> (wgpu_rnn::Output<f64>, wgpu_rnn::reference::Tape<f64>) {
        forward(
            &self.config,
            &self.parameters,
            &self.packing,
            &self.x,
            Some(&self.initial),
            self.mode,
            self.seed,
        )
        .unwrap()
    }

    fn gradients(&self) -> Gradients<f64> {
        backward(&self.forward().1, &self.up).unwrap()
    }

    /// The inputs by name.
    fn input(&mut self, name: &str) -> &mut Vec<f64> {
        match name {
            "x" => &mut self.x,
            "h0" => &mut self.initial.h,
            "c0" => &mut self.initial.c,
            _ => &mut self.parameters,
        }
    }

    fn loss_at(&mut self, (name, index): (&str, usize), value: f64) -> f64 {
        let kept = std::mem::replace(&mut self.input(name)[index], value);
        let loss = self.loss();
        self.input(name)[index] = kept;
        loss
    }

    /// Compares one derivative with finite differences; `Ok(false)` if only a coarse one agrees.
    ///
    /// The five-point formula with h = 5e-4 is exact to 4 h^4 / 30 = 8e-15 times the fifth derivative, which the layer norms
    /// bring up to 1e6 (4 h^4 / 30 * 1e6 = 8e-9), and to rounding, 1e2 roundings * 1e-16 * |loss| <= 100 / h: 2e-9. Where one
    /// of its points lies beyond a kink (relu, clip, clamp), closer pairs are tried; their rounding grows with 1 / h.
    fn compare(&mut self, at: (&str, usize), gradient: f64) -> Result<bool, String> {
        let value = self.input(at.0)[at.1];
        let pair = |problem: &mut Self, h: f64| {
            (problem.loss_at(at, value + h) - problem.loss_at(at, value - h)) / (2.0 * h)
        };
        let h = 5e-4;
        let fine = (4.0 * pair(self, h) - pair(self, 2.0 * h)) / 3.0;
        let scale = 1.0 + gradient.abs();
        if (fine - gradient).abs() <= 2e-8 * scale {
            return Ok(true);
        }
        for h in [1e-5, 1e-6, 1e-7] {
            if (pair(self, h) - gradient).abs() <= 1e-12 / h * scale {
                return Ok(false);
            }
        }
        let close = pair(self, 1e-6);
        Err(format!(
            "{at:?}: gradient {gradient:e}, finite differences {fine:e} and {close:e}\n{:#?}\n{:?}",
            self.config, self.packing
        ))
    }

    /// Compares `count` elements of each input and of each parameter tensor. Returns how many were compared and how many
    /// of these agreed only coarsely.
    fn check(&mut self, count: usize, random: &mut ChaCha8Rng) -> (usize, usize) {
        let gradients = self.gradients();
        let layout = ParameterLayout::new(&self.config).unwrap();
        let mut tensors: Vec<(&str, std::ops::Range<usize>, &[f64])> = vec![
            ("x", 0..gradients.x.len(), &gradients.x),
            ("h0", 0..gradients.state.h.len(), &gradients.state.h),
            ("c0", 0..gradients.state.c.len(), &gradients.state.c),
        ];
        for entry in layout.entries() {
            let range = entry.offset..entry.offset + entry.len();
            tensors.push(("parameters", range, &gradients.parameters));
        }
        let (mut compared, mut coarse) = (0, 0);
        for (name, range, values) in tensors {
            for _ in 0..count.min(range.len()) {
                let index = random.random_range(range.clone());
                match self.compare((name, index), values[index]) {
                    Ok(fine) => coarse += usize::from(!fine),
                    Err(message) => panic!("{message}"),
                }
                compared += 1;
            }
        }
        (compared, coarse)
    }
}

/// Draws one of `items`.
fn one<T: Copy>(random: &mut ChaCha8Rng, items: &[T]) -> T {
    items[random.random_range(0..items.len())]
}

fn activations(random: &mut ChaCha8Rng) -> Activations {
    if random.random_bool(0.5) {
        return Activations::default();
    }
    Activations {
        gate: one(random, &ACTIVATIONS),
        candidate: one(random, &ACTIVATIONS),
        hidden: one(random, &ACTIVATIONS),
    }
}

/// A configuration with every option drawn; many do not build.
fn draw(random: &mut ChaCha8Rng) -> RnnConfigBuilder {
    let (input, hidden) = (random.random_range(1..4), random.random_range(1..5));
    let sometimes = |random: &mut ChaCha8Rng| random.random_bool(0.3);
    let maybe = |yes: bool, value: f32| yes.then_some(value);
    let lstm = random.random_bool(0.5);
    let mut builder = match (lstm, random.random_range(0..4)) {
        (true, _) => RnnConfig::lstm(input, hidden),
        (false, 0) => RnnConfig::elman(input, hidden),
        (false, 1) => RnnConfig::gru(input, hidden),
        (false, _) => RnnConfig::gru(input, hidden).reset(GruReset::Before),
    };
    builder = builder
        .layers(random.random_range(1..4))
        .direction(one(
            random,
            &[
                Direction::Forward,
                Direction::Reverse,
                Direction::BidirectionalConcat,
                Direction::BidirectionalSum,
            ],
        ))
        .residual(random.random_bool(0.4))
        .bias(one(random, &[Bias::None, Bias::One, Bias::Two]))
        .activations_of_each([activations(random), activations(random)])
        .dropout(Dropout {
            between: one(random, &[0.0, 0.3]),
            input: one(random, &[0.0, 0.3]),
            recurrent: one(random, &[0.0, 0.3]),
        })
        .zoneout(Zoneout {
            hidden: one(random, &[0.0, 0.3]),
            cell: if lstm { one(random, &[0.0, 0.3]) } else { 0.0 },
        });
    if lstm && sometimes(random) {
        builder = builder.peephole(one(random, &[Peephole::New, Peephole::Old]));
    }
    if lstm && sometimes(random) {
        let coupled = [Coupled::ForgetFromInput, Coupled::InputFromForget];
        builder = builder.coupled(one(random, &coupled));
    }
    let projected = lstm && sometimes(random);
    if projected {
        builder = builder.projection(random.random_range(1..4), random.random_bool(0.5));
    }
    builder = builder.clip(Clip {
        gates: maybe(sometimes(random), 0.7),
        cell: maybe(lstm && sometimes(random), 0.5),
        hidden: maybe(lstm && sometimes(random), 0.3),
        projection: maybe(projected && sometimes(random), 0.2),
    });
    if sometimes(random) {
        let kinds = [LayerNormKind::WholeThenSum, LayerNormKind::PerGate];
        // A large epsilon keeps the derivatives of rows of one or two elements within what differences resolve.
        builder = builder.layer_norm(one(random, &kinds), 0.1);
    } else if !lstm && random.random_bool(0.5) {
        builder = builder.update(GruUpdate::TakeNew);
    }
    builder
}

/// Names of what a configuration uses, to see that the drawing reaches everything.
fn features(config: &RnnConfig, mode: Mode) -> Vec<String> {
    let spec = config.spec();
    let norm = spec.layer_norm.map(|norm| norm.kind);
    let mut names = vec![
        format!("{:?} {:?} {:?}", spec.cell, spec.reset, spec.update),
        format!("{:?} {norm:?}", spec.cell),
        format!("{:?}", config.direction()),
        format!("{:?} bias {:?}", spec.cell, spec.bias),
        format!("{mode:?} {} layers", config.layer_count()),
    ];
    let mut note = |used: bool, name: &str| {
        if used {
            names.push(format!("{name}, {mode:?}"));
        }
    };
    note(config.residual_somewhere(), "residual");
    note(spec.peephole == Some(Peephole::New), "peephole new");
    note(spec.peephole == Some(Peephole::Old), "peephole old");
    note(spec.peephole.is_some() && norm.is_some(), "peephole, norm");
    note(spec.coupled == Some(Coupled::ForgetFromInput), "f from i");
    note(spec.coupled == Some(Coupled::InputFromForget), "i from f");
    note(spec.projection.is_some(), "projection");
    note(
        spec.projection.is_some() && norm.is_some(),
        "projection, norm",
    );
    note(spec.projection.is_some_and(|p| p.bias), "projection bias");
    note(spec.clip.gates.is_some(), "clip");
    note(spec.clip.cell.is_some(), "cell clip");
    note(spec.clip.hidden.is_some(), "hidden clip");
    note(spec.clip.projection.is_some(), "projection clip");
    note(spec.zoneout.hidden > 0.0, "zoneout");
    note(spec.zoneout.cell > 0.0, "cell zoneout");
    let dropout = config.dropout();
    note(dropout.between > 0.0 && config.layer_count() > 1, "between");
    note(dropout.input > 0.0, "input dropout");
    note(dropout.recurrent > 0.0, "recurrent dropout");
    names
}

/// What the test asks of a configuration beyond the crate's own questions.
trait Residual {
    fn residual_somewhere(&self) -> bool;
}

impl Residual for RnnConfig {
    fn residual_somewhere(&self) -> bool {
        (0..self.layer_count()).any(|layer| self.is_residual(layer))
    }
}

#[test]
fn gradients_are_the_finite_differences_of_generated_networks() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut seen = BTreeMap::<String, usize>::new();
    let (mut compared, mut coarse, mut configurations) = (0, 0, 0);
    while configurations < 1000 {
        let Ok(config) = draw(&mut random).build() else {
            continue;
        };
        let batch = random.random_range(1..4);
        let lengths: Vec<usize> = (0..batch).map(|_| random.random_range(0..5)).collect();
        let mut problem = Problem::generate(config, &lengths, &mut random);
        problem.mode = one(&mut random, &[Mode::Evaluation, Mode::Training]);
        problem.seed = random.random();
        // A loss on a part of the outputs.
        let parts: u32 = random.random_range(1..8);
        for (bit, part) in [&mut problem.up.y, &mut problem.up.h, &mut problem.up.c]
            .into_iter()
            .enumerate()
        {
            if parts & 1 << bit == 0 {
                *part = None;
            }
        }
        // Stacks of unbounded gates can explode, then differences have no digits left.
        if problem.loss().abs() > 100.0 {
            continue;
        }
        configurations += 1;
        for name in features(&problem.config, problem.mode) {
            *seen.entry(name).or_default() += 1;
        }
        let (all, few) = problem.check(3, &mut random);
        compared += all;
        coarse += few;
    }
    println!("{compared} derivatives compared, {coarse} coarsely; {seen:#?}");
    for (name, times) in &seen {
        assert!(*times >= 5, "{name} was drawn {times} times only");
    }
    assert!(seen.len() >= 50, "{} features seen", seen.len());
    // Kinks are met now and then; the fine comparison must be the rule.
    assert!(coarse * 20 < compared, "{coarse} of {compared}");
}

/// Every derivative of smooth networks with all that is random on, compared finely.
#[test]
fn every_gradient_of_stacks_with_dropout_and_zoneout() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for builder in [
        RnnConfig::elman(2, 3),
        RnnConfig::lstm(2, 3),
        RnnConfig::lstm(2, 3)
            .projection(2, true)
            .peephole(Peephole::New),
        RnnConfig::lstm(2, 3).layer_norm(LayerNormKind::WholeThenSum, 0.1),
        RnnConfig::lstm(2, 3)
            .layer_norm(LayerNormKind::PerGate, 0.1)
            .peephole(Peephole::Old),
        RnnConfig::gru(2, 3),
        RnnConfig::gru(2, 3).layer_norm(LayerNormKind::WholeThenSum, 0.1),
        RnnConfig::gru(2, 3).reset(GruReset::Before),
    ] {
        let config = builder
            .layers(2)
            .residual(true)
            .direction(Direction::BidirectionalConcat)
            .dropout(Dropout {
                between: 0.3,
                input: 0.2,
                recurrent: 0.3,
            })
            .zoneout(Zoneout {
                hidden: 0.3,
                cell: 0.0,
            })
            .build()
            .unwrap();
        let mut problem = Problem::generate(config, &[2, 0, 4, 1], &mut random);
        problem.mode = Mode::Training;
        problem.seed = 7;
        let gradients = problem.gradients();
        for (name, values) in [
            ("x", &gradients.x),
            ("h0", &gradients.state.h),
            ("c0", &gradients.state.c),
            ("parameters", &gradients.parameters),
        ] {
            for (index, &gradient) in values.iter().enumerate() {
                assert_eq!(problem.compare((name, index), gradient), Ok(true));
            }
        }
    }
}

#[test]
fn derivatives_of_every_activation() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for activation in ACTIVATIONS {
        for _ in 0..1000 {
            let x: f64 = random.random_range(-6.0..6.0);
            let near_kink = [0.0, 0.3, -1.25, 1.25]
                .iter()
                .any(|kink: &f64| (x - kink).abs() < 1e-3);
            if near_kink {
                continue;
            }
            let ([value], [[slope]]) = jacobian(|[x]| [activate(activation, x)], [x]);
            assert_eq!(value, activate(activation, x));
            let h = 1e-4;
            let pair = |h| (activate(activation, x + h) - activate(activation, x - h)) / (2.0 * h);
            // Exact to h^4 and to 1e-15 / h.
            let difference = (4.0 * pair(h) - pair(2.0 * h)) / 3.0;
            assert!(
                (slope - difference).abs() < 1e-10,
                "{activation:?} at {x}: {slope} against {difference}"
            );
        }
    }
}

/// Values and slopes where a formula written carelessly breaks, in both precisions.
#[test]
fn activations_at_their_edges() {
    let slope_at = |activation, x: f64| {
        let (_, slope) = pullback(|[x]| [activate(activation, x)], [x], [1.0]);
        slope[0]
    };
    assert_eq!(slope_at(Activation::Relu, 0.0), 0.0);
    assert_eq!(slope_at(Activation::LeakyRelu { alpha: 0.1 }, 0.0), 1.0);
    assert_eq!(slope_at(Activation::Elu { alpha: 0.1 }, 0.0), 1.0);
    assert_eq!(
        slope_at(Activation::ThresholdedRelu { alpha: 0.5 }, 0.5),
        1.0
    );
    let hard = Activation::HardSigmoid {
        alpha: 0.25,
        beta: 0.5,
    };
    for (x, slope) in [(-2.0, 0.25), (2.0, 0.25), (-2.1, 0.0), (2.1, 0.0)] {
        assert_eq!(slope_at(hard, x), slope);
    }
    for activation in ACTIVATIONS {
        assert!(activate(activation, f32::NAN).is_nan(), "{activation:?}");
        for x in [-1e4_f32, 1e4, -f32::MAX, f32::MAX] {
            let ([value], [[slope]]) = jacobian(|[x]| [activate(activation, x)], [x]);
            assert!(value.is_finite(), "{activation:?} of {x} is {value}");
            assert!(slope.is_finite(), "{activation:?}' of {x} is {slope}");
        }
    }
    assert_eq!(activate(Activation::Sigmoid, -1e4_f32), 0.0);
    assert_eq!(activate(Activation::Sigmoid, 1e4_f32), 1.0);
    assert_eq!(activate(Activation::Softplus, 1e4_f32), 1e4);
}

#[test]
fn sequences_of_length_zero_keep_their_state() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let config = RnnConfig::lstm(2, 3)
        .layers(2)
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap();
    let problem = Problem::generate(config, &[3, 0, 1], &mut random);
    let (output, _) = problem.forward();
    let gradients = problem.gradients();
    for row in 0..4 {
        let place = (row * 3 + 1) * 3..(row * 3 + 2) * 3;
        assert_eq!(
            output.state.h[place.clone()],
            problem.initial.h[place.clone()]
        );
        assert_eq!(
            output.state.c[place.clone()],
            problem.initial.c[place.clone()]
        );
        let up = problem.up.h.as_ref().unwrap();
        assert_eq!(gradients.state.h[place.clone()], up[place]);
    }
    // Nothing but sequences of length zero, and nothing at all.
    for lengths in [vec![0, 0], vec![]] {
        let problem = Problem::generate(problem.config.clone(), &lengths, &mut random);
        assert!(problem.forward().0.y.is_empty());
        assert!(problem.gradients().parameters.iter().all(|&g| g == 0.0));
    }
}

/// A sequence's result does not depend on its neighbours, nor on its place among them.
#[test]
fn masks_belong_to_the_callers_sequence() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let config = RnnConfig::gru(1, 4)
        .layers(2)
        .direction(Direction::BidirectionalSum)
        .dropout(Dropout {
            between: 0.4,
            input: 0.4,
            recurrent: 0.4,
        })
        .zoneout(Zoneout {
            hidden: 0.4,
            cell: 0.0,
        })
        .build()
        .unwrap();
    let mut problem = Problem::generate(config, &[3, 1], &mut random);
    problem.mode = Mode::Training;
    let first = problem.forward().0;
    // The second sequence grows longer than the first and is sorted before it.
    problem.packing = Packing::new(&[3, 5]).unwrap();
    let rows = [problem.x[0], problem.x[2], problem.x[3]];
    problem.x = vec![9.0, rows[0], 9.0, rows[1], 9.0, rows[2], 9.0, 9.0];
    let second = problem.forward().0;
    assert_eq!(second.y[4..8], first.y[..4]);
    assert_eq!(second.y[12..16], first.y[8..12]);
    assert_eq!(second.state.h[..4], first.state.h[..4]);
    // Another seed, or evaluation, is another result.
    problem.seed = 1;
    let other = problem.forward().0;
    assert_ne!(other.y[4..8], first.y[..4]);
    problem.mode = Mode::Evaluation;
    assert_ne!(problem.forward().0.y, other.y);
}

#[test]
fn wrong_sizes_are_errors() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let config = RnnConfig::lstm(2, 3).build().unwrap();
    let problem = Problem::generate(config, &[2, 1], &mut random);
    let run = |x: &[f64], parameters: &[f64], initial: &State<f64>| {
        let (config, packing) = (&problem.config, &problem.packing);
        forward(
            config,
            parameters,
            packing,
            x,
            Some(initial),
            Mode::Evaluation,
            0,
        )
        .map(|_| ())
    };
    let Problem {
        x,
        parameters,
        initial,
        ..
    } = &problem;
    assert_eq!(run(x, parameters, initial), Ok(()));
    let shape = |result| matches!(result, Err(Error::Shape { .. }));
    assert!(shape(run(&x[1..], parameters, initial)));
    assert!(shape(run(x, &parameters[1..], initial)));
    let mut short = initial.clone();
    short.c.pop();
    assert!(shape(run(x, parameters, &short)));
    let tape = problem.forward().1;
    for part in 0..3 {
        let wrong = |at| (at == part).then(|| vec![0.0; 1]);
        let up = OutputGradient {
            y: wrong(0),
            h: wrong(1),
            c: wrong(2),
        };
        assert!(shape(backward(&tape, &up).map(|_| ())));
    }
}
