//! [`MergeDirections`] on the GPU: one invocation a number of the output, or four.

use crate::error::Result;
use crate::gpu::element::{Element, Pack};
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

pub(crate) fn shader(pack: Pack, [first, second, residual, output]: [Precision; 4]) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        pack.label("merge_directions"),
        &[
            pack.module(),
            lib::INDEX,
            include_str!("../../../shaders/merge_directions.wgsl"),
        ],
        &[Read, Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&[
        Element::packed("First", 0, first, pack),
        Element::packed("Second", 1, second, pack),
        Element::packed("Residual", 2, residual, pack),
        Element::packed("Output", 4, output, pack),
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
    let some = op.states[0].or(op.states[1]).unwrap_or(op.output);
    let read = [op.states[0], op.states[1], op.residual].map(|region| region.unwrap_or(some));
    let [first, second, residual] = read;
    let pack = Pack::of(&[
        first.offset,
        second.offset,
        residual.offset,
        op.output.offset,
        op.width,
    ]);
    let packs = |numbers: usize| (numbers / pack.width()) as u32;
    let stored = [first, second, residual, op.output].map(|region| recorder.stored(region));
    recorder.dispatch(&Dispatch {
        shader: &shader(pack, stored),
        overrides: &[("HAS_RESIDUAL", f64::from(u8::from(op.residual.is_some())))],
        uniform: bytemuck::bytes_of(&Params {
            first_offset: packs(first.offset),
            second_offset: packs(second.offset),
            output_offset: packs(op.output.offset),
            residual_offset: packs(residual.offset),
            table_offset: op.table.0 as u32,
            width: packs(op.width),
            output_width: packs(width),
            elements: packs(elements),
            directions,
        }),
        step: None,
        bindings: &[
            Binding::Read(first.buffer),
            Binding::Read(second.buffer),
            Binding::Read(residual.buffer),
            Binding::Table,
            Binding::ReadWrite(op.output.buffer),
        ],
        workgroups: recorder.linear(elements / pack.width(), LINEAR)?,
        cost: elements as u64,
    })
}
