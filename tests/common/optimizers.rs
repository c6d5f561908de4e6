//! The optimizers' operations as cases for any device: programs of one operation, and what plain loops make of them.

use wgpu_rnn::Device;
use wgpu_rnn::ops::*;

use crate::rounded::Rounded;

const EPSILON: f64 = f32::EPSILON as f64;
/// What a counter's first word counts up to.
const CARRY: f32 = (1 << 20) as f32;

/// A program of one operation, what its buffers hold, and what they shall hold afterwards.
pub(crate) struct OptimizerCase {
    name: String,
    program: Program,
    contents: Vec<(BufferId, Vec<f32>)>,
    expected: Vec<(BufferId, Vec<Rounded>)>,
}

impl OptimizerCase {
    fn new(name: String) -> Self {
        Self {
            name,
            program: Program::new(),
            contents: Vec::new(),
            expected: Vec::new(),
        }
    }

    fn buffer(&mut self, label: &'static str, values: &[f32]) -> BufferId {
        let buffer = self.program.buffer(label, values.len(), Role::Input);
        self.contents.push((buffer, values.to_vec()));
        buffer
    }

    /// Runs it on `device` and compares.
    pub(crate) fn check(&self, device: &dyn Device) {
        let mut plan = device.load(self.program.clone(), &[]).unwrap();
        for (buffer, values) in &self.contents {
            plan.write(*buffer, values).unwrap();
        }
        plan.run(Section::Forward).unwrap();
        for (buffer, expected) in &self.expected {
            let mut got = vec![f32::NAN; expected.len()];
            plan.read(*buffer, &mut got).unwrap();
            for (index, (&got, expected)) in got.iter().zip(expected).enumerate() {
                let Rounded { value, error } = *expected;
                let label = &self.program.spec(*buffer).label;
                let both_infinite = got == f32::INFINITY && value > f32::MAX.into();
                assert!(
                    both_infinite || (f64::from(got) - value).abs() <= error,
                    "{} on {}: {label}[{index}] is {got}, expected {value} within {error:e}",
                    self.name,
                    device.name(),
                );
            }
        }
    }
}

/// Numbers in [-1, 1) that are multiples of 2^-12.
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 51) as f32 - 4096.0) / 4096.0
    };
    (0..len).map(|_| next()).collect()
}

fn exact(values: &[f32]) -> Vec<Rounded> {
    values.iter().map(|&value| value.into()).collect()
}

/// Norms of nothing special, of few and many values, too large for a square in `f32`, and not finite.
pub(crate) fn norms() -> Vec<OptimizerCase> {
    let mut cases = Vec::new();
    let specials: [&[f32]; 4] = [
        &[],
        &[f32::NAN],
        &[f32::INFINITY, 1.0, f32::NEG_INFINITY, -f32::NAN],
        &[f32::MAX, -f32::MAX, f32::MAX],
    ];
    for len in [4, 255, 4_097, 1_000_003] {
        for (kind, special) in specials.iter().enumerate() {
            let mut case = OptimizerCase::new(format!("gradient_norm of {len}, kind {kind}"));
            let mut values = random(len + 3, len as u64);
            // At the beginning, in the middle and at the end of those that count.
            for (index, value) in special.iter().enumerate() {
                values[3 + (len - 1) * index / 3] = *value;
            }
            let source = case.buffer("values", &values);
            let before = random(5, 7);
            let target = case.buffer("target", &before);
            let norm = GradientNorm {
                values: Region::from(source).at(3),
                target: Region::from(target).at(1),
                len,
            };
            case.program.push(Section::Forward, norm);
            let finite = values[3..].iter().filter(|value| value.is_finite());
            let sum: f64 = finite.clone().map(|&value| f64::from(value).powi(2)).sum();
            let scaled_sum = sum * 2f64.powi(-160);
            // A sum of squares has no cancellation: len roundings of the sum, one of each square, one of each scaled value.
            let summed = |value: f64| Rounded {
                value,
                error: (len + 3) as f64 * EPSILON * value + f64::from(f32::MIN_POSITIVE),
            };
            let mut expected = exact(&before);
            // An infinite one meets itself.
            expected[1] = summed(sum.min(f64::from(f32::MAX) * 2.0));
            expected[2] = summed(scaled_sum);
            expected[3] = ((len - finite.count()) as f32).into();
            case.expected.push((target, expected));
            cases.push(case);
        }
    }
    cases
}

/// What an [`OptimizerControl`] starts from.
struct Decision {
    gradient: f64,
    len: f64,
    not_finite: f32,
    scale: f32,
    largest: f32,
    counters: [f32; 5],
    halts: bool,
    decays: [f64; 2],
}

const DECISION: Decision = Decision {
    gradient: 0.25,
    len: 100.0,
    not_finite: 0.0,
    scale: 1.0,
    largest: 0.0,
    counters: [0.0; 5],
    halts: false,
    decays: [0.9, 0.999],
};

/// Steps taken, left out and halted at; norms below, above and far above the largest; corrections of few and many steps.
pub(crate) fn controls() -> Vec<OptimizerCase> {
    let with = |counters: [f32; 5]| Decision {
        counters,
        ..DECISION
    };
    let clips = |gradient: f64, largest: f32| Decision {
        gradient,
        largest,
        ..DECISION
    };
    let bad = |counters: [f32; 5], halts: bool| Decision {
        not_finite: 3.0,
        halts,
        ..with(counters)
    };
    let decays = |decays: [f64; 2], steps: f32| Decision {
        decays,
        ..with([steps, 0.0, 0.0, 0.0, 0.0])
    };
    let decisions = [
        DECISION,
        with([7.0, 0.0, 2.0, 0.0, 0.0]),
        with([CARRY - 1.0, 3.0, 2.0, 0.0, 0.0]),
        with([5.0, 0.0, 1.0, 0.0, 1.0]),
        bad([7.0, 1.0, CARRY - 1.0, 0.0, 0.0], false),
        bad([7.0, 0.0, 2.0, 0.0, 0.0], true),
        bad([7.0, 0.0, 2.0, 0.0, 1.0], true),
        clips(0.25, 1.0),
        clips(0.25, 2.6),
        clips(0.0, 1.0),
        clips(1e30, 1.0),
        clips(f64::from(f32::MAX), 5.0),
        Decision {
            scale: 0.125,
            ..clips(1e30, 1.0)
        },
        Decision {
            scale: 0.125,
            ..clips(0.25, 0.3)
        },
        Decision {
            scale: 0.125,
            ..clips(0.25, 0.32)
        },
        decays([0.0, 0.0], 0.0),
        decays([0.5, 0.99999], 1.0),
        decays([0.9, 0.9999999], 0.0),
        decays([0.999, 0.9999], 1499.0),
        decays([0.9, 0.999], 1_000_000.0),
    ];
    let case = |(index, decision): (usize, &Decision)| control_case(index, decision);
    decisions.iter().enumerate().map(case).collect()
}

fn control_case(index: usize, decision: &Decision) -> OptimizerCase {
    let mut case = OptimizerCase::new(format!("optimizer_control {index}"));
    let square = decision.gradient.powi(2) * decision.len;
    let sums = [
        9.0,
        square as f32,
        (square * 2f64.powi(-160)) as f32,
        decision.not_finite,
    ];
    let settings = StepSettings {
        gradient_scale: decision.scale,
        largest_norm: decision.largest,
        largest_value: 0.0,
        halts: f32::from(u8::from(decision.halts)),
        epsilon: 0.0,
        momentum: 0.0,
        momentum_rest: 0.0,
        momentum_logarithm: decision.decays[0].ln().max(-1e30) as f32,
        decay: 0.0,
        decay_rest: 0.0,
        decay_logarithm: decision.decays[1].ln().max(-1e30) as f32,
    };
    let norm = case.buffer("norm", &sums);
    let elements = [&[8.0; 2][..], &settings.to_elements()].concat();
    let settings = case.buffer("settings", &elements);
    let counters = case.buffer("counters", &[&[6.0][..], &decision.counters].concat());
    let control = case.buffer("control", &[0.0; 9]);
    let operation = OptimizerControl {
        norm: Region::from(norm).at(1),
        settings: Region::from(settings).at(2),
        counters: Region::from(counters).at(1),
        control: Region::from(control).at(2),
    };
    case.program.push(Section::Forward, operation);

    let mut after = decision.counters;
    let taken = decision.not_finite == 0.0 && after[4] == 0.0;
    if after[4] == 0.0 {
        let at = if taken { 0 } else { 2 };
        let count = after[at + 1] * CARRY + after[at] + 1.0;
        (after[at], after[at + 1]) = (count % CARRY, (count / CARRY).floor());
        if !taken && decision.halts {
            after[4] = 1.0;
        }
    }
    let after = [&[6.0][..], &after].concat();
    case.expected.push((counters, exact(&after)));

    let steps = f64::from(after[2]) * f64::from(CARRY) + f64::from(after[1]);
    // The logarithm and its product round once each, to which 1 - exp passes less than it gets; the series adds up to
    // |x| / 2 times the errors of product, division and sum in its first term and less in the others, of a result of
    // 0.52 times 1; exp is granted 3 + 2 |x| units, of at most a third of the result.
    let correction = |decay: f64| Rounded {
        value: 1.0 - decay.powf(steps),
        error: 16.0 * EPSILON * (1.0 - decay.powf(steps)),
    };
    let length = decision.gradient * decision.len.sqrt() * f64::from(decision.scale);
    let largest = f64::from(decision.largest);
    let clips = decision.largest > 0.0 && largest < length + 1e-6;
    let total = match clips {
        true => f64::from(decision.scale) * largest / (length + 1e-6),
        false => decision.scale.into(),
    };
    let first = if clips && square > f64::from(f32::MAX) {
        2f64.powi(-80)
    } else {
        1.0
    };
    // Two sums, rounded when they were stored, their root, four products, a sum and a division.
    let around = |value: f64| Rounded {
        value,
        error: 16.0 * EPSILON * value.abs() + f64::from(f32::MIN_POSITIVE),
    };
    let expected = [
        0.0.into(),
        0.0.into(),
        f32::from(u8::from(taken)).into(),
        (first as f32).into(),
        around(total / first),
        correction(decision.decays[0]),
        correction(decision.decays[1]).sqrt(),
        around(length.min(f32::MAX.into())),
        decision.not_finite.into(),
    ];
    case.expected.push((control, expected.to_vec()));
    case
}

/// Every rule.
pub(crate) const RULES: [UpdateRule; 9] = {
    use UpdateRule::{Adam, RmsProp, Sgd};
    [
        Sgd {
            momentum: false,
            nesterov: false,
        },
        Sgd {
            momentum: true,
            nesterov: false,
        },
        Sgd {
            momentum: true,
            nesterov: true,
        },
        Adam { decoupled: false },
        Adam { decoupled: true },
        RmsProp {
            momentum: false,
            centered: false,
        },
        RmsProp {
            momentum: true,
            centered: false,
        },
        RmsProp {
            momentum: false,
            centered: true,
        },
        RmsProp {
            momentum: true,
            centered: true,
        },
    ]
};

/// Every rule over few and many parameters in groups of one parameter, of none and of many, clipped by value or not, and
/// left out.
pub(crate) fn steps() -> Vec<OptimizerCase> {
    let mut cases = Vec::new();
    for rule in RULES {
        for (len, ends) in [
            (1, vec![1]),
            (257, vec![0, 1, 1, 200, 257]),
            (70_001, vec![3, 50_000, 70_001]),
        ] {
            for (largest_value, taken) in [(0.0, true), (0.2, true), (0.0, false)] {
                cases.push(step_case(rule, (len, &ends), largest_value, taken));
            }
        }
    }
    cases
}

fn step_case(
    rule: UpdateRule,
    (len, ends): (usize, &[usize]),
    largest_value: f32,
    taken: bool,
) -> OptimizerCase {
    let mut case = OptimizerCase::new(format!("optimizer_step {rule:?} of {len}, taken {taken}"));
    let settings = StepSettings {
        gradient_scale: 1.0,
        largest_norm: 0.0,
        largest_value,
        halts: 0.0,
        epsilon: 1e-3,
        momentum: 0.9,
        momentum_rest: 0.1,
        momentum_logarithm: 0.0,
        decay: 0.99,
        decay_rest: 0.01,
        decay_logarithm: 0.0,
    };
    let groups = [[0.1, 0.0], [0.02, 0.3], [0.0, 0.5]];
    let control = [
        f32::from(u8::from(taken)),
        0.5,
        0.75,
        0.271,
        0.1723,
        0.0,
        0.0,
    ];
    let (p, g) = (random(len + 1, 1), random(len + 2, 2));
    let mut state = random(rule.slots() * len + 3, 3);
    if matches!(rule, UpdateRule::Adam { .. } | UpdateRule::RmsProp { .. }) {
        // Second moments are positive, and larger than the squares of the first.
        let second = match rule {
            UpdateRule::Adam { .. } => 3 + len,
            _ => 3,
        };
        for value in &mut state[second..second + len] {
            *value = 1.0 + value.abs();
        }
    }
    let parameters = case.buffer("parameters", &p);
    let gradients = case.buffer("gradients", &g);
    let state_buffer = case.buffer("state", &state);
    let control_buffer = case.buffer("control", &[&[7.0][..], &control].concat());
    let elements = [
        &[8.0; 2][..],
        &settings.to_elements(),
        groups.as_flattened(),
    ]
    .concat();
    let settings_buffer = case.buffer("settings", &elements);
    let group_of = |segment: usize| (segment * 2 + 1) % groups.len();
    let words = ends.iter().enumerate();
    let words: Vec<u32> = words
        .flat_map(|(segment, &end)| [end as u32, group_of(segment) as u32])
        .collect();
    let operation = OptimizerStep {
        rule,
        parameters: Region::from(parameters).at(1),
        gradients: Region::from(gradients).at(2),
        state: Region::from(state_buffer).at(3),
        control: Region::from(control_buffer).at(1),
        settings: Region::from(settings_buffer).at(2),
        segments_table: case.program.table(&words),
        segments: ends.len(),
        groups: groups.len(),
        len,
    };
    case.program.push(Section::Forward, operation);
    let (mut new_p, mut new_state) = (exact(&p), exact(&state));
    if taken {
        for index in 0..len {
            let segment = ends.iter().position(|&end| index < end).unwrap();
            let [rate, decay] = groups[group_of(segment)].map(Rounded::from);
            let loops = Loops {
                settings,
                control: control.map(Rounded::from),
                rate,
                decay,
            };
            let mut slots: Vec<Rounded> = (0..rule.slots())
                .map(|slot| new_state[3 + slot * len + index])
                .collect();
            let parameter = &mut new_p[1 + index];
            *parameter = loops.step(rule, *parameter, g[2 + index].into(), &mut slots);
            for (slot, value) in slots.into_iter().enumerate() {
                new_state[3 + slot * len + index] = value;
            }
        }
    }
    case.expected.push((parameters, new_p));
    case.expected.push((state_buffer, new_state));
    case
}

/// The formulas as they are published, for one parameter.
struct Loops {
    settings: StepSettings,
    control: [Rounded; 7],
    rate: Rounded,
    decay: Rounded,
}

impl Loops {
    fn step(&self, rule: UpdateRule, p: Rounded, g: Rounded, slots: &mut [Rounded]) -> Rounded {
        let (one, epsilon) = (Rounded::from(1.0), Rounded::from(self.settings.epsilon));
        let [momentum, rest] =
            [self.settings.momentum, self.settings.momentum_rest].map(Rounded::from);
        let mut g = g * self.control[1] * self.control[2];
        if self.settings.largest_value > 0.0 {
            g = g.clamp(self.settings.largest_value.into());
        }
        let mut p = p;
        match rule {
            UpdateRule::Adam { decoupled: true } => p = p * (one - self.rate * self.decay),
            _ => g = g + self.decay * p,
        }
        let accumulate = |slot: &mut Rounded, g: Rounded| {
            *slot = momentum * *slot + g;
            *slot
        };
        let direction = match rule {
            UpdateRule::Sgd {
                momentum: false, ..
            } => g,
            UpdateRule::Sgd { nesterov, .. } => {
                let b = accumulate(&mut slots[0], g);
                if nesterov { g + momentum * b } else { b }
            }
            UpdateRule::Adam { .. } => {
                slots[0] = slots[0] + rest * (g - slots[0]);
                slots[1] = self.mean_square(slots[1], g);
                let root = slots[1].sqrt() / self.control[4];
                slots[0] / self.control[3] / (root + epsilon)
            }
            UpdateRule::RmsProp { momentum, centered } => {
                slots[0] = self.mean_square(slots[0], g);
                let mut spread = slots[0];
                if centered {
                    let rest = Rounded::from(self.settings.decay_rest);
                    slots[1] = slots[1] + rest * (g - slots[1]);
                    spread = (spread - slots[1] * slots[1]).not_negative();
                }
                let scaled = g / (spread.sqrt() + epsilon);
                match momentum {
                    true => accumulate(&mut slots[1 + usize::from(centered)], scaled),
                    false => scaled,
                }
            }
        };
        p - self.rate * direction
    }

    fn mean_square(&self, v: Rounded, g: Rounded) -> Rounded {
        let [decay, rest] = [self.settings.decay, self.settings.decay_rest].map(Rounded::from);
        decay * v + rest * g * g
    }
}
