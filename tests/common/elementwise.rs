//! Element-wise operations as cases for any device: programs of many of them, and what plain loops make of each.

use wgpu_rnn::ops::*;
use wgpu_rnn::{Activation, Device, Error};

use crate::rounded::Rounded;

/// A program, what its buffers hold, and what the operations' targets shall hold afterwards.
pub(crate) struct ElementwiseCase {
    program: Program,
    contents: Vec<(BufferId, Vec<f32>)>,
    expected: Vec<(String, BufferId, Vec<Rounded>)>,
}

/// Where operands and target are.
#[derive(Debug, Clone, Copy)]
enum Placement {
    /// In three buffers.
    Apart,
    /// Both operands in one buffer, and they overlap.
    Together,
    /// The first operand is the target.
    FirstInPlace,
    /// The second is.
    SecondInPlace,
    /// All three are one.
    AllInPlace,
}

const PLACEMENTS: [Placement; 5] = [
    Placement::Apart,
    Placement::Together,
    Placement::FirstInPlace,
    Placement::SecondInPlace,
    Placement::AllInPlace,
];

/// How many elements, and where the operands and the target begin: odd numbers, and multiples of 4, which kernels take by
/// fours.
const SHAPES: [(usize, [usize; 3]); 9] = [
    (1, [0, 0, 0]),
    (1, [3, 1, 2]),
    (3, [0, 5, 4]),
    (4, [0, 8, 4]),
    (4, [0, 8, 3]),
    (1_003, [4, 2, 1]),
    (1_024, [8, 4, 12]),
    (70_001, [1, 0, 3]),
    (70_004, [4, 0, 8]),
];

/// The kinds that compute without a function.
const ARITHMETIC: [ElementwiseKind; 8] = [
    ElementwiseKind::Copy,
    ElementwiseKind::Accumulate,
    ElementwiseKind::Add,
    ElementwiseKind::Subtract,
    ElementwiseKind::Multiply,
    ElementwiseKind::AccumulateProduct,
    ElementwiseKind::Scale { factor: -1.7 },
    ElementwiseKind::AccumulateScaled { factor: 0.3 },
];

/// Every activation, with parameters that are no special numbers but where the place of a kink has to be an exact one.
pub(crate) const ACTIVATIONS: [Activation; 12] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::Linear,
    Activation::Affine {
        alpha: 0.7,
        beta: -0.3,
    },
    Activation::LeakyRelu { alpha: 0.01 },
    Activation::ThresholdedRelu { alpha: 0.75 },
    Activation::ScaledTanh {
        alpha: 1.7159,
        beta: 0.6667,
    },
    Activation::HardSigmoid {
        alpha: 0.25,
        beta: 0.5,
    },
    Activation::Elu { alpha: 1.3 },
    Activation::Softsign,
    Activation::Softplus,
];

/// Numbers around every kink, where functions change from one formula to another, far out, tiny ones, and NaN.
const POINTS: [f32; 41] = [
    0.0,
    -0.0,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-30,
    -1e-30,
    1e-7,
    -1e-7,
    1e-3,
    -1e-3,
    0.624_999_9,
    0.625,
    -0.625,
    0.75,
    0.749_999_94,
    -0.75,
    1.0,
    -1.0,
    1.999_999_9,
    2.0,
    2.000_000_2,
    -1.999_999_9,
    -2.0,
    -2.000_000_2,
    5.0,
    -5.0,
    20.0,
    -20.0,
    88.0,
    -88.0,
    104.0,
    -104.0,
    1e4,
    -1e4,
    1e20,
    -1e20,
    f32::MAX,
    f32::MIN,
    f32::NAN,
    3.0,
    -3.0,
];

/// What a device's functions are granted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grants {
    /// The absolute error of a logarithm near 1. WGSL: `2^-21`.
    pub(crate) logarithm: f64,
}

impl ElementwiseCase {
    fn new() -> Self {
        Self {
            program: Program::new(),
            contents: Vec::new(),
            expected: Vec::new(),
        }
    }

    fn buffer(&mut self, values: Vec<f32>) -> BufferId {
        let buffer = self.program.buffer("values", values.len(), Role::Input);
        self.contents.push((buffer, values));
        buffer
    }

    fn values(&self, region: Region, len: usize) -> &[f32] {
        let (_, values) = { self.contents.iter() }
            .find(|(buffer, _)| *buffer == region.buffer)
            .unwrap();
        &values[region.offset..][..len]
    }

    /// Adds an operation on buffers of its own, whose operands hold `a` and `b` where they are not one another.
    fn push(
        &mut self,
        kind: ElementwiseKind,
        placement: Placement,
        [a, b]: [&[f32]; 2],
        at: [usize; 3],
        grants: Grants,
    ) {
        let len = a.len();
        let padded = |values: &[f32], at: usize| {
            let mut padded = vec![9.0; at];
            padded.extend(values);
            padded.extend([8.0; 3]);
            padded
        };
        let first = self.buffer(padded(a, at[0]));
        let second = self.buffer(padded(b, at[1]));
        // A target that is not read may hold anything.
        let before = match kind.accumulates() {
            true => b.iter().rev().copied().collect(),
            false => vec![f32::NAN; len],
        };
        let other = self.buffer(padded(&before, at[2]));
        let [first, second, other] = [(first, at[0]), (second, at[1]), (other, at[2])]
            .map(|(buffer, offset)| Region { buffer, offset });
        let (second, target) = match placement {
            Placement::Apart => (second, other),
            // Three elements follow.
            Placement::Together => (first.at(at[1] % 4), other),
            Placement::FirstInPlace => (second, first),
            Placement::SecondInPlace => (second, second),
            Placement::AllInPlace => (first, first),
        };
        let operation = Elementwise {
            kind,
            a: first,
            b: kind.has_second().then_some(second),
            target,
            len,
        };
        self.program.push(Section::Forward, operation);
        let (a, b) = (self.values(first, len), self.values(second, len));
        let (t, whole) = (
            self.values(target, len),
            self.program.spec(target.buffer).len,
        );
        let mut expected: Vec<Rounded> = self
            .values(target.buffer.into(), whole)
            .iter()
            .map(|&value| value.into())
            .collect();
        for index in 0..len {
            expected[target.offset + index] =
                combined(kind, [t[index], a[index], b[index]], grants);
        }
        let what = format!("{kind:?}, {placement:?}, {len} elements at {at:?}");
        self.expected.push((what, target.buffer, expected));
    }

    /// Runs it on `device` and compares; NaN has to meet NaN.
    pub(crate) fn check(&self, device: &dyn Device) {
        let mut plan = device.load(self.program.clone(), &[]).unwrap();
        for (buffer, values) in &self.contents {
            plan.write(*buffer, values).unwrap();
        }
        plan.run(Section::Forward).unwrap();
        for (what, buffer, expected) in &self.expected {
            let mut got = vec![0.0; expected.len()];
            plan.read(*buffer, &mut got).unwrap();
            let (_, before) = { self.contents.iter() }
                .find(|(written, _)| written == buffer)
                .unwrap();
            for (index, (&got, expected)) in got.iter().zip(expected).enumerate() {
                let Rounded { value, error } = *expected;
                let fits = match value.is_nan() {
                    true => got.is_nan(),
                    false => (f64::from(got) - value).abs() <= error,
                };
                assert!(
                    fits,
                    "{what} on {}: [{index}] is {got}, expected {value} within {error:e}; it was {}",
                    device.name(),
                    before[index],
                );
            }
        }
    }
}

/// Numbers in [-1, 1) that are multiples of 2^-12, a NaN here and there.
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match state >> 40 & 0xff {
            0 => f32::NAN,
            _ => ((state >> 51) as f32 - 4096.0) / 4096.0,
        }
    };
    (0..len).map(|_| next()).collect()
}

/// A number that any device computes exactly, or with the one rounding that `f32` has.
fn once(value: f32) -> Rounded {
    value.into()
}

/// What an operation makes of one element.
fn combined(kind: ElementwiseKind, [target, a, b]: [f32; 3], grants: Grants) -> Rounded {
    let [t, x, y] = [target, a, b].map(Rounded::from);
    match kind {
        ElementwiseKind::Copy => once(a),
        ElementwiseKind::Accumulate => once(target + a),
        ElementwiseKind::Add => once(a + b),
        ElementwiseKind::Subtract => once(a - b),
        ElementwiseKind::Multiply => once(a * b),
        ElementwiseKind::AccumulateProduct => t + x * y,
        ElementwiseKind::Scale { factor } => once(factor * a),
        ElementwiseKind::AccumulateScaled { factor } => t + Rounded::from(factor) * x,
        ElementwiseKind::Activate(activation) => activated(activation, a, grants)[0],
        ElementwiseKind::ActivateBackward(activation) => y * activated(activation, a, grants)[1],
    }
}

/// An activation and its derivative, by formulas whose roundings are at least those of the devices'.
fn activated(activation: Activation, input: f32, grants: Grants) -> [Rounded; 2] {
    let number = Rounded::from;
    let (x, zero, one) = (number(input), number(0.0), number(1.0));
    if input.is_nan() {
        return [x, x];
    }
    let magnitude = number(input.abs());
    let sigmoid = || {
        let e = (-magnitude).exp();
        (if input >= 0.0 { one } else { e }) / (one + e)
    };
    match activation {
        Activation::Sigmoid => {
            let y = sigmoid();
            [y, y * (one - y)]
        }
        Activation::Tanh => {
            let y = x.tanh();
            [y, one - y * y]
        }
        Activation::Relu if input > 0.0 => [x, one],
        Activation::Relu => [zero, zero],
        Activation::Linear => [x, one],
        Activation::Affine { alpha, beta } => [number(alpha) * x + number(beta), number(alpha)],
        Activation::LeakyRelu { .. } if input >= 0.0 => [x, one],
        Activation::LeakyRelu { alpha } => [number(alpha) * x, number(alpha)],
        Activation::ThresholdedRelu { alpha } if input >= alpha => [x, one],
        Activation::ThresholdedRelu { .. } => [zero, zero],
        Activation::ScaledTanh { alpha, beta } => {
            let inner = (number(beta) * x).tanh();
            let slope = number(alpha) * number(beta) * (one - inner * inner);
            [number(alpha) * inner, slope]
        }
        Activation::HardSigmoid { alpha, beta } => {
            // Exact near its kinks.
            let line = alpha * input + beta;
            match (0.0..=1.0).contains(&line) {
                true => [number(alpha) * x + number(beta), number(alpha)],
                false => [number(line.clamp(0.0, 1.0)), zero],
            }
        }
        Activation::Elu { .. } if input >= 0.0 => [x, one],
        Activation::Elu { alpha } => {
            let y = number(alpha) * (x.exp() - one);
            [y, y + number(alpha)]
        }
        Activation::Softsign => {
            let y = x / (one + magnitude);
            let distance = if input < 0.0 { -y } else { y };
            [y, (one - distance) / (one + magnitude)]
        }
        Activation::Softplus => {
            let rest = (-magnitude).exp().ln_1p(grants.logarithm);
            [number(input.max(0.0)) + rest, sigmoid()]
        }
        other => panic!("no formula for {other:?}"),
    }
}

/// Sums and products of all shapes and placements.
pub(crate) fn arithmetic() -> Vec<ElementwiseCase> {
    let grants = Grants { logarithm: 0.0 };
    let of_shape = |(index, (len, at))| {
        let mut case = ElementwiseCase::new();
        let [a, b] = [1, 2].map(|seed| random(len, 2 * index as u64 + seed));
        for kind in ARITHMETIC {
            for placement in PLACEMENTS {
                case.push(kind, placement, [&a, &b], at, grants);
            }
        }
        case
    };
    SHAPES.into_iter().enumerate().map(of_shape).collect()
}

/// Every activation and its derivative, at many points and in all shapes; in place too.
pub(crate) fn activations(grants: Grants) -> Vec<ElementwiseCase> {
    let of_activation = |activation| {
        let mut case = ElementwiseCase::new();
        let kinds = [
            ElementwiseKind::Activate(activation),
            ElementwiseKind::ActivateBackward(activation),
        ];
        // The places do not depend on the function: a few are enough, since each of them is another pipeline.
        let in_place = matches!(activation, Activation::Tanh | Activation::Relu);
        // The points, then numbers as a layer has them.
        let around = |len: usize, seed| {
            let mut values = POINTS.to_vec();
            values.extend(random(len, seed).into_iter().map(|value| 4.0 * value));
            values.rotate_left(len % POINTS.len());
            values.truncate(len);
            values
        };
        for (len, at) in SHAPES.into_iter().chain([(41, [0, 1, 2]), (44, [0, 4, 8])]) {
            // Derivatives of that many large numbers need a gradient that is none of them.
            let (x, gradient) = (around(len, 3), random(len, 4));
            for kind in kinds {
                case.push(kind, Placement::Apart, [&x, &gradient], at, grants);
                if in_place && len < 70_000 {
                    for placement in [Placement::FirstInPlace, Placement::SecondInPlace] {
                        case.push(kind, placement, [&x, &gradient], at, grants);
                    }
                }
            }
        }
        case
    };
    ACTIVATIONS.map(of_activation).into()
}

/// Operations that every device refuses, with a part of what it shall say.
fn refused() -> Vec<(Program, &'static str)> {
    use ElementwiseKind as Kind;
    let with = |kind: Kind, change: fn(&mut Elementwise)| {
        let mut program = Program::new();
        let [a, b, target] =
            ["a", "b", "target"].map(|label| program.buffer(label, 8, Role::Input));
        let mut operation = Elementwise {
            kind,
            a: a.into(),
            b: kind.has_second().then_some(b.into()),
            target: target.into(),
            len: 4,
        };
        change(&mut operation);
        program.push(Section::Forward, operation);
        program
    };
    let nan = f32::NAN;
    let infinite = f32::INFINITY;
    vec![
        (with(Kind::Add, |op| op.b = None), "second operand of Add"),
        (
            with(Kind::Copy, |op| op.b = Some(op.a)),
            "second operand of Copy",
        ),
        (
            with(Kind::Copy, |op| op.target = op.a.at(4)),
            "operand's buffer",
        ),
        (
            with(Kind::Accumulate, |op| op.a = op.target.at(1)),
            "operand's buffer",
        ),
        (
            with(Kind::Add, |op| op.b = Some(op.target.at(4))),
            "operand's buffer",
        ),
        (with(Kind::Multiply, |op| op.len = 9), "9 elements"),
        (
            with(Kind::Subtract, |op| op.a = op.a.at(5)),
            "4 elements from 5",
        ),
        (
            with(Kind::Add, |op| op.b = op.b.map(|b| b.at(usize::MAX))),
            "4 elements",
        ),
        (with(Kind::Scale { factor: nan }, |_| ()), "factor"),
        (
            with(Kind::AccumulateScaled { factor: infinite }, |_| ()),
            "factor",
        ),
        (
            with(Kind::Activate(Activation::LeakyRelu { alpha: nan }), |_| ()),
            "alpha",
        ),
        (
            with(
                Kind::ActivateBackward(Activation::Elu { alpha: infinite }),
                |_| (),
            ),
            "alpha",
        ),
    ]
}

/// Sees that a device refuses them by an error that says why.
pub(crate) fn check_refused(device: &dyn Device) {
    for (program, why) in refused() {
        let error = device.load(program, &[]).map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(why),
            "{}: {text} instead of {why}",
            device.name()
        );
        assert!(!matches!(error, Error::Device(_)), "{text}");
    }
}
