//! [`Elementwise`] on the GPU: one invocation a number of the target, or four.

use crate::config::Activation;
use crate::error::Result;
use crate::gpu::element::Pack;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{Elementwise, ElementwiseKind};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    a_offset: u32,
    b_offset: u32,
    result_offset: u32,
    len: u32,
    factor: f32,
    alpha: f32,
    beta: f32,
}

pub(crate) fn shader(pack: Pack) -> Shader {
    use Access::{Read, ReadWrite};
    let each = match pack {
        Pack::One => include_str!("../../../shaders/lib/each_one.wgsl"),
        Pack::Four => include_str!("../../../shaders/lib/each_four.wgsl"),
    };
    Shader::new(
        pack.label("elementwise"),
        &[
            pack.module(),
            lib::INDEX,
            lib::NUMBER,
            lib::ACTIVATION,
            each,
            include_str!("../../../shaders/elementwise.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[("KIND", 9.0), ("ACTIVATION", 8.0)])
}

/// The shader's number of what is computed, and of the activation.
fn codes(kind: ElementwiseKind) -> [f64; 2] {
    use ElementwiseKind as Kind;
    let code = |activation: Activation| f64::from(activation.code().0);
    match kind {
        Kind::Copy => [0.0, 0.0],
        Kind::Accumulate => [1.0, 0.0],
        Kind::Add => [2.0, 0.0],
        Kind::Subtract => [3.0, 0.0],
        Kind::Multiply => [4.0, 0.0],
        Kind::AccumulateProduct => [5.0, 0.0],
        Kind::Scale { .. } => [6.0, 0.0],
        Kind::AccumulateScaled { .. } => [7.0, 0.0],
        Kind::Activate(activation) => [8.0, code(activation)],
        Kind::ActivateBackward(activation) => [9.0, code(activation)],
    }
}

pub(crate) fn record(op: &Elementwise, recorder: &mut Recorder<'_>) -> Result<()> {
    use ElementwiseKind as Kind;
    op.validate()?;
    let b = op.b.unwrap_or(op.a);
    recorder.check("first operand", op.a, op.len)?;
    recorder.check("second operand", b, op.len)?;
    recorder.check("result", op.target, op.len)?;
    let pack = Pack::of(&[op.a.offset, b.offset, op.target.offset, op.len]);
    let packs = |numbers: usize| (numbers / pack.width()) as u32;
    let [kind, activation] = codes(op.kind);
    let (factor, alpha, beta, cost) = match op.kind {
        Kind::Scale { factor } | Kind::AccumulateScaled { factor } => (factor, 0.0, 0.0, 1),
        Kind::Activate(activation) | Kind::ActivateBackward(activation) => {
            let (_, alpha, beta) = activation.code();
            (0.0, alpha, beta, 8)
        }
        _ => (0.0, 0.0, 0.0, 1),
    };
    let flag = |place| f64::from(u8::from(place == op.target));
    // What is not read still needs a binding: any buffer that is not written will do.
    let read = |place| {
        op.apart(place)
            .map_or(Binding::Table, |place| Binding::Read(place.buffer))
    };
    recorder.dispatch(&Dispatch {
        shader: &shader(pack),
        overrides: &[
            ("KIND", kind),
            ("ACTIVATION", activation),
            ("A_IN_PLACE", flag(op.a)),
            ("B_IN_PLACE", flag(b)),
        ],
        uniform: bytemuck::bytes_of(&Params {
            a_offset: packs(op.a.offset),
            b_offset: packs(b.offset),
            result_offset: packs(op.target.offset),
            len: packs(op.len),
            factor,
            alpha,
            beta,
        }),
        step: None,
        bindings: &[read(op.a), read(b), Binding::ReadWrite(op.target.buffer)],
        workgroups: recorder.linear(op.len / pack.width(), LINEAR)?,
        cost: cost * op.len as u64,
    })
}
