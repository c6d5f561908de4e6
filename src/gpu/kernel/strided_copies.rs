//! [`StridedCopies`] on the GPU: all jobs in one dispatch, one invocation an element.

use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{CopyJob, Precision, Region, StridedCopies};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    jobs: u32,
    count: u32,
    elements: u32,
    accumulate: u32,
}

pub(crate) fn shader([source, result]: [Precision; 2]) -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "strided_copies",
        &[
            lib::INDEX,
            include_str!("../../../shaders/strided_copies.wgsl"),
        ],
        &[Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .storing(&[
        Element::scalar("Source", 0, source),
        Element::scalar("Result", 2, result),
    ])
}

pub(crate) fn record(op: &StridedCopies, recorder: &mut Recorder<'_>) -> Result<()> {
    let mut words = Vec::with_capacity(8 * op.jobs.len());
    let mut elements = 0usize;
    for job in op.jobs.iter().filter(|job| !job.size.contains(&0)) {
        check(op, job, recorder)?;
        words.extend(
            [
                [elements, job.source, job.target, job.size[1]],
                [
                    job.source_strides[0],
                    job.source_strides[1],
                    job.target_strides[0],
                    job.target_strides[1],
                ],
            ]
            .as_flattened()
            .iter()
            .map(|&word| word as u32),
        );
        let size = recorder.count("copied elements", &job.size)?;
        elements = recorder.count("copied elements", &[elements.saturating_add(size)])?;
    }
    let jobs = recorder.table(&words);
    recorder.dispatch(&Dispatch {
        shader: &shader([op.source, op.target].map(|buffer| recorder.precision(buffer))),
        overrides: &[],
        uniform: bytemuck::bytes_of(&Params {
            jobs: jobs.0 as u32,
            count: (words.len() / 8) as u32,
            elements: elements as u32,
            accumulate: op.accumulate.into(),
        }),
        step: None,
        bindings: &[
            Binding::Read(op.source),
            Binding::Table,
            Binding::ReadWrite(op.target),
        ],
        workgroups: recorder.linear(elements, LINEAR)?,
        cost: 8 * elements as u64,
    })
}

fn check(op: &StridedCopies, job: &CopyJob, recorder: &Recorder<'_>) -> Result<()> {
    let extent = |strides: [usize; 2]| {
        let [row, column] = [0, 1].map(|axis| (job.size[axis] - 1).saturating_mul(strides[axis]));
        row.saturating_add(column).saturating_add(1)
    };
    let source = Region::from(op.source).at(job.source);
    recorder.check("source of a copy", source, extent(job.source_strides))?;
    let target = Region::from(op.target).at(job.target);
    recorder.check("target of a copy", target, extent(job.target_strides))
}
