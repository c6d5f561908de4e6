//! [`LayerNormRows`] on the GPU: one workgroup a row.

use crate::error::{Error, Result};
use crate::gpu::element::Element;
use crate::gpu::kernel::lib;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{LayerNormRows, Precision};

/// Elements of a row at most. 256 invocations walk them three times, and Mesa's software adapter silently ends an
/// invocation's loops after 65,535 iterations in total.
const WIDEST: usize = 256 * 16_384;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    values_offset: u32,
    deviation_offset: u32,
    scale_offset: u32,
    bias_offset: u32,
    rows: u32,
    width: u32,
    slots: u32,
    slot_mask: u32,
    share: f32,
    epsilon: f32,
}

pub(crate) fn shader([values, scale, bias]: [Precision; 3]) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "layer_norm_rows",
        &[
            lib::INDEX,
            lib::REDUCE,
            include_str!("../../../shaders/layer_norm_rows.wgsl"),
        ],
        &[ReadWrite, ReadWrite, Read, Read],
        size_of::<Params>(),
    )
    .storing(&[
        Element::scalar("Value", 0, values),
        Element::scalar("Scale", 2, scale),
        Element::scalar("Bias", 3, bias),
    ])
    .with_overrides(&[("HAS_SCALE", 1.0), ("HAS_BIAS", 1.0)])
}

/// Elements of a row, and the share of one normalised element in a mean.
pub(crate) fn row(
    recorder: &Recorder<'_>,
    (hidden, slots): (usize, usize),
    slot_mask: u32,
) -> Result<(usize, f32)> {
    let width = recorder.count("normalised row", &[hidden, slots])?;
    if width > WIDEST {
        return Err(Error::Limit {
            what: "elements of a normalised row".to_owned(),
            needed: width as u64,
            limit: WIDEST as u64,
            advice: "use fewer hidden units",
        });
    }
    let all = 1u32
        .checked_shl(slots as u32)
        .map_or(u32::MAX, |bit| bit - 1);
    let together = hidden * (slot_mask & all).count_ones() as usize;
    Ok((width, 1.0 / together.max(1) as f32))
}

/// Of one row: a workgroup works on it, however narrow it is, and its two sums take some twenty rounds.
pub(crate) fn cost(width: usize) -> u64 {
    256 * (6 * width.div_ceil(256) as u64 + 20)
}

pub(crate) fn record(op: &LayerNormRows, recorder: &mut Recorder<'_>) -> Result<()> {
    let (width, share) = row(recorder, (op.hidden, op.slots), op.slot_mask)?;
    recorder.check_rows("normalised rows", op.values, [op.rows, width, width])?;
    recorder.check("deviations", op.deviation, op.rows)?;
    for vector in [op.scale, op.bias].into_iter().flatten() {
        recorder.check("scale or bias of a norm", vector, width)?;
    }
    let flag = |present: bool| f64::from(u8::from(present));
    // Without a vector something readable has to be bound.
    let bind = |vector: Option<crate::ops::Region>| {
        vector.map_or(Binding::Table, |vector| Binding::Read(vector.buffer))
    };
    let overrides = [
        ("HAS_SCALE", flag(op.scale.is_some())),
        ("HAS_BIAS", flag(op.bias.is_some())),
    ];
    let stored = [Some(op.values), op.scale, op.bias].map(|region| recorder.stored(region));
    let (shader, cost) = (shader(stored), cost(width));
    let chunk = recorder.affordable(cost);
    for start in (0..op.rows).step_by(chunk) {
        let rows = chunk.min(op.rows - start);
        recorder.dispatch(&Dispatch {
            shader: &shader,
            overrides: &overrides,
            uniform: bytemuck::bytes_of(&Params {
                values_offset: (op.values.offset + start * width) as u32,
                deviation_offset: (op.deviation.offset + start) as u32,
                scale_offset: op.scale.map_or(0, |scale| scale.offset) as u32,
                bias_offset: op.bias.map_or(0, |bias| bias.offset) as u32,
                rows: rows as u32,
                width: width as u32,
                slots: op.slots as u32,
                slot_mask: op.slot_mask,
                share,
                epsilon: op.epsilon,
            }),
            step: None,
            bindings: &[
                Binding::ReadWrite(op.values.buffer),
                Binding::ReadWrite(op.deviation.buffer),
                bind(op.scale),
                bind(op.bias),
            ],
            workgroups: recorder.linear(rows, 1)?,
            cost: rows as u64 * cost,
        })?;
    }
    Ok(())
}
