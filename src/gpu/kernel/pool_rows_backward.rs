//! [`PoolRowsBackward`] on the GPU: one invocation an element.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib, pool_rows};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{PoolKind, PoolRowsBackward};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    gradient_offset: u32,
    winners_offset: u32,
    result_offset: u32,
    width: u32,
    elements: u32,
    sequences: u32,
    numbers: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "pool_rows_backward",
        &[
            lib::INDEX,
            include_str!("../../../shaders/pool_rows_backward.wgsl"),
        ],
        &[Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[("KIND", 1.0)])
}

pub(crate) fn record(op: &PoolRowsBackward, recorder: &mut Recorder<'_>) -> Result<()> {
    op.validate()?;
    let (packing, width) = (&op.packing, op.width);
    let elements = recorder.count("pooled rows", &[packing.tokens(), width])?;
    let pooled = recorder.count("pooled sequences", &[packing.batch(), width])?;
    let winners = op.winners.unwrap_or(op.gradient);
    recorder.check("gradient of pooling", op.gradient, pooled)?;
    recorder.check("winning steps", winners, pooled)?;
    recorder.check("gradient of pooled rows", op.target, elements)?;
    let sequences = packing.sequence_of_rows();
    let numbers = match op.kind {
        PoolKind::Max => packing.step_of_rows(),
        PoolKind::Mean => {
            let sorted_of = packing.sorted_of();
            let length = |&sequence: &u32| packing.lengths()[sorted_of[sequence as usize] as usize];
            sequences.iter().map(|s| length(s) as u32).collect()
        }
    };
    let [sequences, numbers] = [sequences, numbers].map(|words| recorder.table(&words));
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[pool_rows::kind(op.kind)],
        uniform: bytemuck::bytes_of(&Params {
            gradient_offset: op.gradient.offset as u32,
            winners_offset: winners.offset as u32,
            result_offset: op.target.offset as u32,
            width: width as u32,
            elements: elements as u32,
            sequences: sequences.0 as u32,
            numbers: numbers.0 as u32,
        }),
        step: None,
        bindings: &[
            Binding::Table,
            Binding::Read(op.gradient.buffer),
            Binding::Read(winners.buffer),
            Binding::ReadWrite(op.target.buffer),
        ],
        workgroups: recorder.linear(elements, LINEAR)?,
        cost: elements as u64,
    })
}
