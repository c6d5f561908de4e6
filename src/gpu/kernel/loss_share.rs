//! What a loss multiplies its elements with where that depends on the data: shared by
//! [`PointwiseLoss`](crate::ops::PointwiseLoss) and [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy).

use crate::error::Result;
use crate::gpu::kernel::lib;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::Region;

/// The weights of a loss's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LossShare {
    /// `[rows]`
    pub(crate) weights: Option<Region>,
    /// `[rows]`: the class of each row, and the number of classes.
    pub(crate) classes: Option<(Region, usize)>,
    /// `[classes]`
    pub(crate) class_weights: Option<Region>,
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) width: usize,
    /// Where it goes in the scratch buffer.
    pub(crate) result: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    weights_offset: u32,
    expected_offset: u32,
    class_weights_offset: u32,
    classes: u32,
    rows: u32,
    width: f32,
    result: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "loss_share",
        &[
            lib::NUMBER,
            lib::REDUCE,
            include_str!("../../../shaders/loss_share.wgsl"),
        ],
        &[Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[
        ("HAS_WEIGHTS", 1.0),
        ("HAS_CLASSES", 1.0),
        ("HAS_CLASS_WEIGHTS", 1.0),
    ])
}

impl LossShare {
    /// Records it; `any` is some buffer that the operation reads, bound where there is nothing else.
    pub(crate) fn record(&self, any: Region, recorder: &mut Recorder<'_>) -> Result<()> {
        recorder.reserve_scratch(self.result + 1);
        let (expected, classes) = self.classes.unwrap_or((any, 0));
        let (weights, class_weights) = (
            self.weights.unwrap_or(any),
            self.class_weights.unwrap_or(any),
        );
        let flag = |present: bool| f64::from(u8::from(present));
        recorder.dispatch(&Dispatch {
            shader: &shader(),
            overrides: &[
                ("HAS_WEIGHTS", flag(self.weights.is_some())),
                ("HAS_CLASSES", flag(self.classes.is_some())),
                ("HAS_CLASS_WEIGHTS", flag(self.class_weights.is_some())),
            ],
            uniform: bytemuck::bytes_of(&Params {
                weights_offset: weights.offset as u32,
                expected_offset: expected.offset as u32,
                class_weights_offset: class_weights.offset as u32,
                classes: classes as u32,
                rows: self.rows as u32,
                width: self.width as f32,
                result: self.result as u32,
            }),
            step: None,
            bindings: &[
                Binding::Read(weights.buffer),
                Binding::Read(expected.buffer),
                Binding::Read(class_weights.buffer),
                Binding::ScratchWrite,
            ],
            workgroups: [1, 1, 1],
            cost: self.rows as u64,
        })
    }
}
