//! [`Elementwise`] on the CPU.

use pulp::{Simd, WithSimd};

use crate::cell::{Dual, Number, Real, formula};
use crate::config::Activation;
use crate::cpu::access::Accesses;
use crate::cpu::parallel::{for_pieces, for_rows};
use crate::cpu::run::{Context, Run};
use crate::cpu::vector::{Units, Vector};
use crate::error::Result;
use crate::ops::{Elementwise, ElementwiseKind};

impl Run for Elementwise {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        let operands = [Some(self.a), self.b];
        for operand in operands {
            accesses.read_optional(self.apart(operand), self.len)?;
        }
        let reads_target = self.kind.accumulates() || operands.contains(&Some(self.target));
        match reads_target {
            true => accesses.write(self.target, self.len),
            false => accesses.replace(self.target, self.len),
        }
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        use ElementwiseKind as Kind;
        let [a, b] = [self.apart(self.a), self.apart(self.b)]
            .map(|operand| context.memory.optional(operand));
        let (a, b) = (a?, b?);
        let len = self.len;
        let operands =
            [a.as_deref(), b.as_deref()].map(|operand| operand.map(|operand| &operand[..len]));
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..len];
        match self.kind {
            Kind::Copy => {
                if let [Some(a), _] = operands {
                    target.copy_from_slice(a);
                }
            }
            Kind::Accumulate => each(target, operands, |target, a, _| target + a),
            Kind::Add => each(target, operands, |_, a, b| a + b),
            Kind::Subtract => each(target, operands, |_, a, b| a - b),
            Kind::Multiply => each(target, operands, |_, a, b| a * b),
            Kind::AccumulateProduct => each(target, operands, |target, a, b| target + a * b),
            Kind::Scale { factor } => each(target, operands, |_, a, _| factor * a),
            Kind::AccumulateScaled { factor } => {
                each(target, operands, |target, a, _| target + factor * a);
            }
            Kind::Activate(activation) => {
                let [x, _] = operands;
                for_vectors(target, |start, target| {
                    let x = x.map(|x| &x[start..]);
                    context.arch.dispatch(Activate {
                        activation,
                        x,
                        target,
                    });
                });
            }
            Kind::ActivateBackward(activation) => {
                for_vectors(target, |start, target| {
                    let [x, gradient] =
                        operands.map(|operand| operand.map(|operand| &operand[start..]));
                    context.arch.dispatch(ActivateBackward {
                        activation,
                        x,
                        gradient,
                        target,
                    });
                });
            }
        }
        Ok(())
    }
}

/// `target = f(target, a, b)` for each element. An operand that is not there is the target itself, or none that `f` looks at.
fn each(
    target: &mut [f32],
    operands: [Option<&[f32]>; 2],
    f: impl Fn(f32, f32, f32) -> f32 + Sync,
) {
    for_pieces(target, |start, target| {
        let operands = operands.map(|operand| operand.map(|operand| &operand[start..]));
        match operands {
            [Some(a), Some(b)] => {
                for ((target, a), b) in target.iter_mut().zip(a).zip(b) {
                    *target = f(*target, *a, *b);
                }
            }
            [Some(a), None] => {
                for (target, a) in target.iter_mut().zip(a) {
                    *target = f(*target, *a, *target);
                }
            }
            [None, Some(b)] => {
                for (target, b) in target.iter_mut().zip(b) {
                    *target = f(*target, *target, *b);
                }
            }
            [None, None] => {
                for target in target {
                    *target = f(*target, *target, *target);
                }
            }
        }
    });
}

/// Calls `work(start, elements)` for pieces of whole vectors, but for the last.
fn for_vectors(target: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    const PIECE: usize = 1024;
    // About what an exponential takes.
    const COST: usize = 8;
    for_rows(target, PIECE, COST, |piece, target| {
        work(piece * PIECE, target);
    });
}

/// `target = f(x)`; `x` is the target itself if there is none.
struct Activate<'a> {
    activation: Activation,
    x: Option<&'a [f32]>,
    target: &'a mut [f32],
}

impl WithSimd for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for units in Units::of_row(simd, self.target.len()) {
            let x = units.load(self.x.unwrap_or(self.target));
            units.store(self.target, activated(self.activation, x));
        }
    }
}

/// `target = gradient * f'(x)`; what is not there is the target itself.
struct ActivateBackward<'a> {
    activation: Activation,
    x: Option<&'a [f32]>,
    gradient: Option<&'a [f32]>,
    target: &'a mut [f32],
}

impl WithSimd for ActivateBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for units in Units::of_row(simd, self.target.len()) {
            let x = units.load(self.x.unwrap_or(self.target));
            let gradient = units.load(self.gradient.unwrap_or(self.target));
            // Only a NaN is not at most itself.
            let slope = Vector::choose(x.is_at_most(x), slope(self.activation, x), x);
            units.store(self.target, gradient * slope);
        }
    }
}

// A vector's own activations, but for the two saturating functions, go number by number: good for what few cells use, not for
// long rows of it.

#[inline(always)]
fn activated<S: Simd>(activation: Activation, x: Vector<S>) -> Vector<S> {
    match activation {
        Activation::Sigmoid | Activation::Tanh => x.activate(activation),
        _ => formula(activation, x),
    }
}

#[inline(always)]
fn slope<S: Simd>(activation: Activation, x: Vector<S>) -> Vector<S> {
    match activation {
        Activation::Sigmoid | Activation::Tanh => x.activate_with_slope(activation)[1],
        _ => formula(activation, Dual::<_, 1>::input(x, 0)).partials[0],
    }
}
