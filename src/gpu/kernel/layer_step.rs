//! [`LayerStep`] on the GPU: one dispatch where the cell has one phase and the batch is small, its parts' dispatches else.

use super::recurrent::{self, Form, Kernel, Params};
use crate::config::Cell;
use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::Access::{Read, ReadWrite};
use crate::gpu::shader::Shader;
use crate::ops::{LayerStep, Precision, Recurrence, Region};

/// Sequences up to which the input's product does not gain from being a matrix product of its own.
const MOST_SEQUENCES: usize = 16;

/// Invocations of a workgroup at most: units are spread over workgroups.
const WORKGROUP: usize = 64;

const HIDDEN: Kernel = Kernel {
    name: "layer_step",
    main: include_str!("../../../shaders/layer_step.wgsl"),
    rows: &[include_str!("../../../shaders/lib/rows_edge.wgsl")],
    second: "",
    many: false,
    input: true,
    bindings: &[Read, Read, Read, Read, Read, ReadWrite, ReadWrite],
    term: |_| 1,
};

/// With cell states.
const CELL: Kernel = Kernel {
    bindings: &[
        Read, Read, Read, Read, Read, ReadWrite, ReadWrite, Read, ReadWrite,
    ],
    ..HIDDEN
};

pub(crate) fn shaders() -> Vec<Shader> {
    recurrent::sample_steps(kernel, elements)
}

/// The types of packed weights, input and output.
fn elements(op: &Recurrence, form: Form, [weights, input, output]: [Precision; 3]) -> Vec<Element> {
    let mut elements = recurrent::weight_elements(op, form, weights);
    elements.push(Element::scalar("Input", 3, input));
    elements.push(Element::scalar("Output", 5, output));
    elements
}

fn kernel(op: &Recurrence) -> Option<&'static Kernel> {
    let phases = op.spec.layer_norm.is_some() || op.spec.has_second_product();
    match op.spec.cell {
        _ if phases => None,
        Cell::Lstm => Some(&CELL),
        Cell::Elman | Cell::Gru => Some(&HIDDEN),
    }
}

pub(crate) fn record(op: &LayerStep, recorder: &mut Recorder<'_>) -> Result<()> {
    let Some((kernel, form)) = chosen(op, recorder) else {
        let parts = op.parts();
        return parts
            .iter()
            .try_for_each(|part| super::record(part, recorder));
    };
    check(op, recorder)?;
    let recurrence = &op.recurrence;
    let cores = recorder.software_threads().unwrap_or(1);
    let workgroup = (recurrence.hidden.div_ceil(cores).next_power_of_two())
        .clamp(form.least_workgroup(), WORKGROUP);
    let mut overrides = recurrent::variant(recurrence);
    overrides.push(("WORKGROUP", workgroup as f64));
    let tiles = recurrence.batch.div_ceil(form.tile);
    let blocks = recurrence.hidden.div_ceil(workgroup);
    let terms = op.projection.k + recurrence.state;
    let edges = [recurrence.weights, op.projection.a.region, op.output.output];
    let elements = elements(
        recurrence,
        form,
        edges.map(|region| recorder.stored(region)),
    );
    recorder.dispatch(&Dispatch {
        shader: &recurrent::shader(recurrence, kernel, form, &elements),
        overrides: &overrides,
        uniform: bytemuck::bytes_of(&params(op)),
        step: None,
        bindings: &bindings(op, form),
        workgroups: [blocks as u32, tiles as u32, 1],
        cost: (recurrence.batch * terms * op.projection.n) as u64,
    })
}

/// The kernel and its form, if one dispatch can do it and gains from it.
fn chosen(op: &LayerStep, recorder: &Recorder<'_>) -> Option<(&'static Kernel, Form)> {
    let recurrence = &op.recurrence;
    let kernel = kernel(recurrence)?;
    if recurrence.batch > MOST_SEQUENCES || has_conflict(op, recorder) {
        return None;
    }
    let form = Form::new(recurrent::choose(kernel.name, recurrence, recorder));
    let storage = recorder.limits().max_storage_buffers_per_shader_stage as usize;
    let fits = kernel.storage_buffers(form) <= storage
        && recurrent::fits_one_dispatch(recurrence, op.projection.k, form);
    fits.then_some((kernel, form))
}

/// Whether a buffer that one dispatch would write is another one of its buffers, as when a stream's state is carried in place.
fn has_conflict(op: &LayerStep, recorder: &Recorder<'_>) -> bool {
    let (read, written) = edges(op);
    let all = || read.iter().chain(&written).enumerate();
    let conflicts = |(index, region): (usize, &Region)| {
        let mut others = all().filter(|(other, _)| *other != index);
        others.any(|(_, other)| recorder.is_one_buffer(region.buffer, other.buffer))
    };
    all().skip(read.len()).any(conflicts)
}

/// What is read and what is written at the layer's edge.
fn edges(op: &LayerStep) -> (Vec<Region>, Vec<Region>) {
    let mut read = vec![op.projection.a.region, op.first_h.source];
    read.extend(op.first_c.map(|rows| rows.source));
    let mut written = vec![op.output.output, op.last_h.target];
    written.extend(op.last_c.map(|rows| rows.target));
    (read, written)
}

/// What the parts' own checks would find, for what the kernel touches.
fn check(op: &LayerStep, recorder: &Recorder<'_>) -> Result<()> {
    let recurrence = &op.recurrence;
    recurrent::check(recurrence, recorder)?;
    let (batch, state) = (recurrence.batch, recurrence.state);
    recorder.check("x", op.projection.a.region, batch * op.projection.k)?;
    recorder.check("first h", op.first_h.source, batch * state)?;
    recorder.check("output", op.output.output, batch * state)?;
    recorder.check("last h", op.last_h.target, batch * state)?;
    let first_c = op.first_c.map(|rows| rows.source);
    let last_c = op.last_c.map(|rows| rows.target);
    for rows in first_c.into_iter().chain(last_c) {
        recorder.check("cell states", rows, batch * recurrence.hidden)?;
    }
    Ok(())
}

fn bindings(op: &LayerStep, form: Form) -> Vec<Binding> {
    let mut bindings = recurrent::weight_bindings(&op.recurrence, form);
    bindings.extend([
        Binding::Read(op.projection.a.region.buffer),
        Binding::Read(op.first_h.source.buffer),
        Binding::ReadWrite(op.output.output.buffer),
        Binding::ReadWrite(op.last_h.target.buffer),
    ]);
    bindings.extend(op.first_c.map(|rows| Binding::Read(rows.source.buffer)));
    bindings.extend(op.last_c.map(|rows| Binding::ReadWrite(rows.target.buffer)));
    bindings
}

fn params(op: &LayerStep) -> Params {
    let word = |region: Region| region.offset as u32;
    let mut params = Params::new(&op.recurrence);
    params.inputs = op.projection.k as u32;
    params.x = word(op.projection.a.region);
    params.y = word(op.output.output);
    params.first_h = word(op.first_h.source);
    params.last_h = word(op.last_h.target);
    params.first_c = op.first_c.map_or(0, |rows| word(rows.source));
    params.last_c = op.last_c.map_or(0, |rows| word(rows.target));
    params
}
