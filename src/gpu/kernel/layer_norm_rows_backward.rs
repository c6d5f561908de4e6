//! [`LayerNormRowsBackward`] on the GPU: one workgroup a row.

use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::kernel::{layer_norm_rows, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{LayerNormRowsBackward, Precision};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    values_offset: u32,
    deviation_offset: u32,
    scale_offset: u32,
    gradient_offset: u32,
    rows: u32,
    width: u32,
    slots: u32,
    slot_mask: u32,
    share: f32,
}

pub(crate) fn shader([scale, gradient]: [Precision; 2]) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "layer_norm_rows_backward",
        &[
            lib::INDEX,
            lib::REDUCE,
            include_str!("../../../shaders/layer_norm_rows_backward.wgsl"),
        ],
        &[ReadWrite, Read, Read, Read],
        size_of::<Params>(),
    )
    .storing(&[
        Element::scalar("Scale", 2, scale),
        Element::scalar("Gradient", 3, gradient),
    ])
}

pub(crate) fn record(op: &LayerNormRowsBackward, recorder: &mut Recorder<'_>) -> Result<()> {
    let (width, share) = layer_norm_rows::row(recorder, (op.hidden, op.slots), op.slot_mask)?;
    recorder.check_rows("normalised rows", op.normalised, [op.rows, width, width])?;
    recorder.check_rows("gradient rows", op.gradient, [op.rows, width, width])?;
    recorder.check("deviations", op.deviation, op.rows)?;
    recorder.check("scale of a norm", op.scale, width)?;
    let stored = [op.scale, op.gradient].map(|region| recorder.stored(region));
    let (shader, cost) = (shader(stored), layer_norm_rows::cost(width));
    let chunk = recorder.affordable(cost);
    for start in (0..op.rows).step_by(chunk) {
        let rows = chunk.min(op.rows - start);
        recorder.dispatch(&Dispatch {
            shader: &shader,
            overrides: &[],
            uniform: bytemuck::bytes_of(&Params {
                values_offset: (op.normalised.offset + start * width) as u32,
                deviation_offset: (op.deviation.offset + start) as u32,
                scale_offset: op.scale.offset as u32,
                gradient_offset: (op.gradient.offset + start * width) as u32,
                rows: rows as u32,
                width: width as u32,
                slots: op.slots as u32,
                slot_mask: op.slot_mask,
                share,
            }),
            step: None,
            bindings: &[
                Binding::ReadWrite(op.normalised.buffer),
                Binding::Read(op.deviation.buffer),
                Binding::Read(op.scale.buffer),
                Binding::Read(op.gradient.buffer),
            ],
            workgroups: recorder.linear(rows, 1)?,
            cost: rows as u64 * cost,
        })?;
    }
    Ok(())
}
