//! [`SoftmaxCrossEntropy`] on the GPU: the sum of the weights, then the gradient and partial sums of workgroups, then their
//! sum.

use crate::error::Result;
use crate::gpu::kernel::loss_share::LossShare;
use crate::gpu::kernel::{LINEAR, lib, sum_partials};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::SoftmaxCrossEntropy;

/// Workgroups, unless rows are so many or so long that Mesa's software adapter would end an invocation's loops, which it
/// silently does after 65,535 iterations in total.
const GROUPS: usize = 1024;
/// Iterations of an invocation's loops that are planned for, with room for what is not counted.
const ITERATIONS: usize = 32_768;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    logits_offset: u32,
    expected_offset: u32,
    weights_offset: u32,
    class_weights_offset: u32,
    gradient_offset: u32,
    rows: u32,
    classes: u32,
    share_at: u32,
    smoothing: f32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "softmax_cross_entropy",
        &[
            lib::NUMBER,
            lib::REDUCE,
            include_str!("../../../shaders/softmax_cross_entropy.wgsl"),
        ],
        &[Read, Read, Read, Read, ReadWrite, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[
        ("LANES", 16.0),
        ("HAS_WEIGHTS", 1.0),
        ("HAS_CLASS_WEIGHTS", 1.0),
    ])
}

/// Invocations of a row: a power of two, with some classes each.
fn lanes(classes: usize) -> usize {
    classes.div_ceil(4).next_power_of_two().min(LINEAR)
}

/// Workgroups over `rows` rows, `at_once` at a time.
fn groups(op: &SoftmaxCrossEntropy, lanes: usize) -> usize {
    let sets = op.rows.div_ceil(LINEAR / lanes);
    // Three walks over the classes, and three reductions of at most eight rounds.
    let iterations = 3 * op.classes.div_ceil(lanes) + 24;
    let sets_of_a_group = (ITERATIONS / iterations).max(1);
    sets.min(GROUPS).max(sets.div_ceil(sets_of_a_group))
}

pub(crate) fn record(op: &SoftmaxCrossEntropy, recorder: &mut Recorder<'_>) -> Result<()> {
    op.validate()?;
    let elements = recorder.count("logits", &[op.rows, op.classes])?;
    recorder.check("logits", op.logits, elements)?;
    recorder.check("classes of rows", op.target, op.rows)?;
    recorder.check("gradient of the loss", op.gradient, elements)?;
    if let Some(weights) = op.weights {
        recorder.check("weights of the loss", weights, op.rows)?;
    }
    if let Some(weights) = op.class_weights {
        recorder.check("weights of classes", weights, op.classes)?;
    }
    let lanes = lanes(op.classes);
    let groups = groups(op, lanes);
    let share = LossShare {
        weights: op.weights,
        classes: Some((op.target, op.classes)),
        class_weights: op.class_weights,
        rows: op.rows,
        width: 1,
        result: groups,
    };
    share.record(op.target, recorder)?;
    let weights = op.weights.unwrap_or(op.target);
    let class_weights = op.class_weights.unwrap_or(op.target);
    let flag = |present: bool| f64::from(u8::from(present));
    let groups = [groups as u32, 1, 1];
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[
            ("LANES", lanes as f64),
            ("HAS_WEIGHTS", flag(op.weights.is_some())),
            ("HAS_CLASS_WEIGHTS", flag(op.class_weights.is_some())),
        ],
        uniform: bytemuck::bytes_of(&Params {
            logits_offset: op.logits.offset as u32,
            expected_offset: op.target.offset as u32,
            weights_offset: weights.offset as u32,
            class_weights_offset: class_weights.offset as u32,
            gradient_offset: op.gradient.offset as u32,
            rows: op.rows as u32,
            classes: op.classes as u32,
            share_at: groups[0],
            smoothing: op.smoothing,
        }),
        step: None,
        bindings: &[
            Binding::Read(op.logits.buffer),
            Binding::Read(op.target.buffer),
            Binding::Read(weights.buffer),
            Binding::Read(class_weights.buffer),
            Binding::ReadWrite(op.gradient.buffer),
            Binding::ScratchWrite,
        ],
        workgroups: groups,
        cost: 16 * elements as u64,
    })?;
    sum_partials::record(groups, op.loss, 1.0, recorder)
}
