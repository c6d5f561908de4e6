//! [`MergeDirections`] on the GPU: one invocation an element of the output.

use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{MergeDirections, Precision};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    first_offset: u32,
    second_offset: u32,
    output_offset: u32,
    residual_offset: u32,
    table_offset: u32,
    width: u32,
    output_width: u32,
    elements: u32,
    directions: u32,
}

pub(crate) fn shader([first, second, residual, output]: [Precision; 4]) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "merge_directions",
        &[
            lib::INDEX,
            include_str!("../../../shaders/merge_directions.wgsl"),
        ],
        &[Read, Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&[
        Element::scalar("First", 0, first),
        Element::scalar("Second", 1, second),
        Element::scalar("Residual", 2, residual),
        Element::scalar("Output", 4, output),
    ])
    .with_overrides(&[("HAS_RESIDUAL", 1.0)])
}

pub(crate) fn record(op: &MergeDirections, recorder: &mut Recorder<'_>) -> Result<()> {
    let width = op.output_width();
    let elements = recorder.count("merged output", &[op.tokens, width])?;
    recorder.check("merged output", op.output, elements)?;
    if let Some(residual) = op.residual {
        recorder.check("residual", residual, elements)?;
    }
    let mut directions = 0;
    for (direction, states) in op.states.into_iter().enumerate() {
        let Some(states) = states else { continue };
        recorder.check("states", states, op.tokens * op.width)?;
        directions |= 1 << direction;
        if op.reverse[direction] {
            directions |= 4 << direction;
            recorder.check_table("reverse rows", op.table, op.tokens, op.tokens)?;
        }
    }
    // What is absent still needs a binding.
    let bind = |region: Option<crate::ops::Region>| {
        region.map_or(Binding::Table, |region| Binding::Read(region.buffer))
    };
    let offset =
        |region: Option<crate::ops::Region>| region.map_or(0, |region| region.offset) as u32;
    recorder.dispatch(&Dispatch {
        shader: &shader(
            [op.states[0], op.states[1], op.residual, Some(op.output)]
                .map(|region| recorder.stored(region)),
        ),
        overrides: &[("HAS_RESIDUAL", f64::from(u8::from(op.residual.is_some())))],
        uniform: bytemuck::bytes_of(&Params {
            first_offset: offset(op.states[0]),
            second_offset: offset(op.states[1]),
            output_offset: op.output.offset as u32,
            residual_offset: offset(op.residual),
            table_offset: op.table.0 as u32,
            width: op.width as u32,
            output_width: width as u32,
            elements: elements as u32,
            directions,
        }),
        step: None,
        bindings: &[
            bind(op.states[0]),
            bind(op.states[1]),
            bind(op.residual),
            Binding::Table,
            Binding::ReadWrite(op.output.buffer),
        ],
        workgroups: recorder.linear(elements, LINEAR)?,
        cost: elements as u64,
    })
}
