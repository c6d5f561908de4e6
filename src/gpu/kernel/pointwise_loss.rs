//! [`PointwiseLoss`] on the GPU: with weights their sum, then the gradient and partial sums of workgroups, then their sum.

use crate::error::Result;
use crate::gpu::kernel::loss_share::LossShare;
use crate::gpu::kernel::{lib, sum_partials};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{PointwiseLoss, PointwiseLossKind};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    prediction_offset: u32,
    expected_offset: u32,
    weights_offset: u32,
    gradient_offset: u32,
    width: u32,
    elements: u32,
    share: f32,
    share_at: u32,
    parameter: f32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "pointwise_loss",
        &[
            lib::NUMBER,
            lib::REDUCE,
            include_str!("../../../shaders/pointwise_loss.wgsl"),
        ],
        &[Read, Read, Read, ReadWrite, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[("KIND", 3.0), ("HAS_WEIGHTS", 1.0)])
}

/// The override `KIND`, and the kind's parameter.
fn kind(kind: PointwiseLossKind) -> (f64, f32) {
    match kind {
        PointwiseLossKind::Squared => (0.0, 0.0),
        PointwiseLossKind::Absolute => (1.0, 0.0),
        PointwiseLossKind::Huber { delta } => (2.0, delta),
        PointwiseLossKind::BinaryCrossEntropy { positive_weight } => (3.0, positive_weight),
    }
}

pub(crate) fn record(op: &PointwiseLoss, recorder: &mut Recorder<'_>) -> Result<()> {
    op.validate()?;
    let elements = recorder.count("elements of a loss", &[op.rows, op.width])?;
    recorder.check("predictions", op.prediction, elements)?;
    recorder.check("targets", op.target, elements)?;
    recorder.check("gradient of the loss", op.gradient, elements)?;
    let groups = sum_partials::groups(elements, recorder);
    let share_at = groups[0] as usize;
    if let Some(weights) = op.weights {
        recorder.check("weights of the loss", weights, op.rows)?;
        let share = LossShare {
            weights: op.weights,
            classes: None,
            class_weights: None,
            rows: op.rows,
            width: op.width,
            result: share_at,
        };
        share.record(weights, recorder)?;
    }
    let weights = op.weights.unwrap_or(op.target);
    let (kind, parameter) = kind(op.kind);
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[
            ("KIND", kind),
            ("HAS_WEIGHTS", f64::from(u8::from(op.weights.is_some()))),
        ],
        uniform: bytemuck::bytes_of(&Params {
            prediction_offset: op.prediction.offset as u32,
            expected_offset: op.target.offset as u32,
            weights_offset: weights.offset as u32,
            gradient_offset: op.gradient.offset as u32,
            width: op.width as u32,
            elements: elements as u32,
            share: 1.0 / elements as f32,
            share_at: share_at as u32,
            parameter,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.prediction.buffer),
            Binding::Read(op.target.buffer),
            Binding::Read(weights.buffer),
            Binding::ReadWrite(op.gradient.buffer),
            Binding::ScratchWrite,
        ],
        workgroups: groups,
        cost: 8 * elements as u64,
    })?;
    sum_partials::record(groups, op.loss, 1.0, recorder)
}
