//! [`DropoutRows`] on the GPU: one invocation an element.

use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::kernel::{LINEAR, lib};
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{DropoutRows, Precision};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    source_offset: u32,
    result_offset: u32,
    sequences: u32,
    steps: u32,
    width: u32,
    elements: u32,
    site: u32,
    probability: f32,
    factor: f32,
}

/// The shader for a source in a buffer of its own, or for one in the result's buffer (and for none).
fn shader(other: Option<Precision>, result: Precision) -> Shader {
    use Access::{Read, ReadWrite};
    let mut elements = vec![Element::scalar("Result", 1, result)];
    elements.extend(other.map(|source| Element::scalar("Source", 2, source)));
    let (label, source, bindings) = if other.is_some() {
        (
            "dropout_rows",
            include_str!("../../../shaders/lib/source_other.wgsl"),
            &[Read, ReadWrite, Read][..],
        )
    } else {
        (
            "dropout_rows_in_place",
            include_str!("../../../shaders/lib/source_in_place.wgsl"),
            &[Read, ReadWrite][..],
        )
    };
    let main = include_str!("../../../shaders/dropout_rows.wgsl");
    Shader::new(
        label,
        &[lib::INDEX, lib::RANDOM, source, main],
        bindings,
        size_of::<Params>(),
    )
    .storing(&elements)
    .with_overrides(&[("HAS_SOURCE", 1.0), ("HAS_STEPS", 1.0)])
}

pub(crate) fn shaders() -> Vec<Shader> {
    let of = |stored| [shader(Some(stored), stored), shader(None, stored)];
    [Precision::F32, Precision::F16]
        .into_iter()
        .flat_map(of)
        .collect()
}

pub(crate) fn record(op: &DropoutRows, recorder: &mut Recorder<'_>) -> Result<()> {
    let elements = recorder.count("dropout", &[op.rows, op.width])?;
    recorder.check("dropout's result", op.target, elements)?;
    for table in [Some(op.sequences), op.steps].into_iter().flatten() {
        recorder.check_table("rows' sequences or steps", table, op.rows, usize::MAX)?;
    }
    if let Some(source) = op.source {
        recorder.check("dropout's source", source, elements)?;
    }
    let other = op.source.filter(|source| source.buffer != op.target.buffer);
    let mut bindings = vec![Binding::Table, Binding::ReadWrite(op.target.buffer)];
    bindings.extend(other.map(|source| Binding::Read(source.buffer)));
    let flag = |present: bool| f64::from(u8::from(present));
    recorder.dispatch(&Dispatch {
        shader: &shader(
            other.map(|source| recorder.stored(source)),
            recorder.stored(op.target),
        ),
        overrides: &[
            ("HAS_SOURCE", flag(op.source.is_some())),
            ("HAS_STEPS", flag(op.steps.is_some())),
        ],
        uniform: bytemuck::bytes_of(&Params {
            source_offset: op.source.map_or(0, |source| source.offset) as u32,
            result_offset: op.target.offset as u32,
            sequences: op.sequences.0 as u32,
            steps: op.steps.map_or(0, |steps| steps.0) as u32,
            width: op.width as u32,
            elements: elements as u32,
            site: op.site.word(),
            probability: op.probability,
            factor: 1.0 / (1.0 - op.probability),
        }),
        step: None,
        bindings: &bindings,
        workgroups: recorder.linear(elements, LINEAR)?,
        // Ten rounds of the generator.
        cost: 64 * elements as u64,
    })
}
