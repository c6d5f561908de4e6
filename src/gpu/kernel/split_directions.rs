//! [`SplitDirections`] on the GPU: a dispatch for each direction, one invocation an element of its states.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::SplitDirections;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    states_offset: u32,
    output_offset: u32,
    table_offset: u32,
    width: u32,
    output_width: u32,
    column: u32,
    elements: u32,
    reverse: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "split_directions",
        &[
            lib::INDEX,
            include_str!("../../../shaders/split_directions.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
}

pub(crate) fn record(op: &SplitDirections, recorder: &mut Recorder<'_>) -> Result<()> {
    let beside = op.states[1].is_some() && !op.sum;
    let output_width = if beside { 2 * op.width } else { op.width };
    let elements = recorder.count("states of a direction", &[op.tokens, op.width])?;
    let outputs = recorder.count("output", &[op.tokens, output_width])?;
    recorder.check("output", op.output, outputs)?;
    let shader = shader();
    for (direction, states) in op.states.into_iter().enumerate() {
        let Some(states) = states else { continue };
        recorder.check("states", states, elements)?;
        if op.reverse[direction] {
            recorder.check_table("reverse rows", op.table, op.tokens, op.tokens)?;
        }
        recorder.dispatch(&Dispatch {
            shader: &shader,
            overrides: &[],
            uniform: bytemuck::bytes_of(&Params {
                states_offset: states.offset as u32,
                output_offset: op.output.offset as u32,
                table_offset: op.table.0 as u32,
                width: op.width as u32,
                output_width: output_width as u32,
                column: if beside { direction * op.width } else { 0 } as u32,
                elements: elements as u32,
                reverse: op.reverse[direction].into(),
            }),
            step: None,
            bindings: &[
                Binding::Read(op.output.buffer),
                Binding::Table,
                Binding::ReadWrite(states.buffer),
            ],
            workgroups: recorder.linear(elements, LINEAR)?,
            cost: elements as u64,
        })?;
    }
    Ok(())
}
