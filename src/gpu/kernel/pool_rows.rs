//! [`PoolRows`] on the GPU: an invocation a sequence and column; very long sequences take several dispatches.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{PoolKind, PoolRows};

/// Steps of one dispatch: Mesa's software adapter silently ends an invocation's loops after 65,535 iterations in total.
const STEPS_PER_DISPATCH: usize = 32_768;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    source_offset: u32,
    result_offset: u32,
    winners_offset: u32,
    width: u32,
    elements: u32,
    sorted_of: u32,
    lengths: u32,
    offsets: u32,
    step_start: u32,
    step_end: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "pool_rows",
        &[
            lib::INDEX,
            lib::NUMBER,
            include_str!("../../../shaders/pool_rows.wgsl"),
        ],
        &[Read, Read, ReadWrite, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[("KIND", 1.0)])
}

/// The override `KIND` of the shaders that pool.
pub(super) fn kind(kind: PoolKind) -> (&'static str, f64) {
    let number = match kind {
        PoolKind::Mean => 0.0,
        PoolKind::Max => 1.0,
    };
    ("KIND", number)
}

pub(crate) fn record(op: &PoolRows, recorder: &mut Recorder<'_>) -> Result<()> {
    op.validate()?;
    let (packing, width) = (&op.packing, op.width);
    let batch = packing.batch();
    let rows = recorder.count("pooled rows", &[packing.tokens(), width])?;
    let elements = recorder.count("pooled sequences", &[batch, width])?;
    recorder.check("pooled rows", op.source, rows)?;
    recorder.check("result of pooling", op.target, elements)?;
    recorder.check_table("sorted sequences", op.sorted_of, batch, batch)?;
    let winners = match op.winners {
        Some(winners) => {
            recorder.check("winning steps", winners, elements)?;
            Binding::ReadWrite(winners.buffer)
        }
        None => {
            recorder.reserve_scratch(1);
            Binding::ScratchWrite
        }
    };
    let words = |numbers: &[usize]| numbers.iter().map(|&n| n as u32).collect::<Vec<_>>();
    let lengths = recorder.table(&words(packing.lengths()));
    let offsets = recorder.table(&words(packing.offsets()));
    let mut step_start = 0;
    // Without a step zeros are still written.
    loop {
        let step_end = packing.steps().min(step_start + STEPS_PER_DISPATCH);
        let tokens = packing.offsets()[step_end] - packing.offsets()[step_start];
        recorder.dispatch(&Dispatch {
            shader: &shader(),
            overrides: &[kind(op.kind)],
            uniform: bytemuck::bytes_of(&Params {
                source_offset: op.source.offset as u32,
                result_offset: op.target.offset as u32,
                winners_offset: op.winners.map_or(0, |winners| winners.offset) as u32,
                width: width as u32,
                elements: elements as u32,
                sorted_of: op.sorted_of.0 as u32,
                lengths: lengths.0 as u32,
                offsets: offsets.0 as u32,
                step_start: step_start as u32,
                step_end: step_end as u32,
            }),
            step: None,
            bindings: &[
                Binding::Table,
                Binding::Read(op.source.buffer),
                Binding::ReadWrite(op.target.buffer),
                winners,
            ],
            workgroups: recorder.linear(elements, LINEAR)?,
            cost: (elements + tokens * width) as u64,
        })?;
        step_start = step_end;
        if step_start == packing.steps() {
            return Ok(());
        }
    }
}
