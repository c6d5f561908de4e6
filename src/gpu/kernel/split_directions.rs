//! [`SplitDirections`] on the GPU: a dispatch for each direction, one invocation a number of its states, or four.

use crate::error::Result;
use crate::gpu::element::Pack;
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

pub(crate) fn shader(pack: Pack) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        pack.label("split_directions"),
        &[
            pack.module(),
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
    for (direction, states) in op.states.into_iter().enumerate() {
        let Some(states) = states else { continue };
        recorder.check("states", states, elements)?;
        if op.reverse[direction] {
            recorder.check_table("reverse rows", op.table, op.tokens, op.tokens)?;
        }
        let pack = Pack::of(&[states.offset, op.output.offset, op.width]);
        let packs = |numbers: usize| (numbers / pack.width()) as u32;
        recorder.dispatch(&Dispatch {
            shader: &shader(pack),
            overrides: &[],
            uniform: bytemuck::bytes_of(&Params {
                states_offset: packs(states.offset),
                output_offset: packs(op.output.offset),
                table_offset: op.table.0 as u32,
                width: packs(op.width),
                output_width: packs(output_width),
                column: packs(if beside { direction * op.width } else { 0 }),
                elements: packs(elements),
                reverse: op.reverse[direction].into(),
            }),
            step: None,
            bindings: &[
                Binding::Read(op.output.buffer),
                Binding::Table,
                Binding::ReadWrite(states.buffer),
            ],
            workgroups: recorder.linear(elements / pack.width(), LINEAR)?,
            cost: elements as u64,
        })?;
    }
    Ok(())
}
