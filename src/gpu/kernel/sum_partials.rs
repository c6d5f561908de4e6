//! The second stage of sums over many elements: shared by [`GradientNorm`](crate::ops::GradientNorm) and the losses.

use crate::error::Result;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::Region;

/// Workgroups of a first stage at most: enough to fill a GPU, few enough for one workgroup to add up.
const GROUPS: usize = 1024;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    offset: u32,
    factor: f32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "sum_partials",
        &[
            lib::REDUCE,
            include_str!("../../../shaders/sum_partials.wgsl"),
        ],
        &[Read, ReadWrite],
        size_of::<Params>(),
    )
}

/// Workgroups of the first stage over `len` elements; the scratch buffer then has room for their sums. The number does not
/// depend on the adapter, so neither does the order of the sum.
pub(crate) fn groups(len: usize, recorder: &mut Recorder<'_>) -> [u32; 3] {
    groups_of_sums(len, 1, recorder)
}

/// Likewise for a first stage with several sums, laid out `[sums, workgroups]`.
pub(crate) fn groups_of_sums(len: usize, sums: usize, recorder: &mut Recorder<'_>) -> [u32; 3] {
    let groups = len.div_ceil(LINEAR).min(GROUPS);
    recorder.reserve_scratch(groups * sums);
    [groups as u32, 1, 1]
}

/// Records `target[0] = factor * sum of the first stage's sums`.
pub(crate) fn record(
    groups: [u32; 3],
    target: Region,
    factor: f32,
    recorder: &mut Recorder<'_>,
) -> Result<()> {
    record_sums((groups, 1), target, factor, recorder)
}

/// Likewise for several sums, `target[0..sums]`.
pub(crate) fn record_sums(
    (groups, sums): ([u32; 3], usize),
    target: Region,
    factor: f32,
    recorder: &mut Recorder<'_>,
) -> Result<()> {
    recorder.check("sum", target, sums)?;
    recorder.dispatch(&Dispatch {
        shader: &shader(),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            count: groups[0],
            offset: target.offset as u32,
            factor,
        }),
        step: None,
        bindings: &[Binding::ScratchRead, Binding::ReadWrite(target.buffer)],
        workgroups: [sums as u32, 1, 1],
        cost: u64::from(groups[0]) * sums as u64,
    })
}
