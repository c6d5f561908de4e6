//! [`StackStep`] on the GPU: a dispatch for as many layers as it pays for, where the cell has one phase and the batch is small,
//! the parts' dispatches else.

use super::recurrent::{self, Form, Kernel, Params};
use crate::config::Cell;
use crate::error::{Error, Result};
use crate::gpu::element::Element;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::Access::{Read, ReadWrite};
use crate::gpu::shader::Shader;
use crate::ops::{
    LayerStep, Operation, Precision, Program, Recurrence, Region, StackStep, elements as count,
};

/// A number of layers as the shader's constant, and its `run`.
macro_rules! run {
    ($count:literal: $($layer:literal)+) => {
        concat!(
            "const LAYERS: u32 = ", $count, "u;\n",
            "fn run(group: vec3u, thread: u32) {\n",
            $("    run_layer(", $layer, "u, group, thread);\n",)+
            "}\n",
        )
    };
}

/// Sequences up to which the input's product does not gain from being a matrix product of its own.
const MOST_SEQUENCES: usize = 16;

/// Invocations of a workgroup at most, where units are spread over workgroups.
const WORKGROUP: usize = 64;

/// Invocations of the workgroup on a GPU that takes several layers alone.
const STACK_WORKGROUP: usize = 256;

/// Multiply-adds of a tile's step through a layer up to which every workgroup repeating it takes less time than a dispatch
/// more. A GPU's core reads weights at some 100 GB/s and dispatches that wait for each other take 2 to 5 us each, so that
/// it is 512 KiB of weights; a software adapter, Mesa's, takes 15 us for as many, and 40 us for a dispatch.
const MOST_REPEATED: usize = 1 << 17;

/// Layers of a dispatch at most.
const MOST_LAYERS: usize = 4;

const ROWS: &str = include_str!("../../../shaders/lib/rows_edge.wgsl");

/// The stem, and the modules apart from the main one, for each number of layers.
const STACKS: [(&str, &[&str]); MOST_LAYERS] = [
    ("stack_step", &[ROWS, run![1: 0]]),
    ("stack_step_2", &[ROWS, run![2: 0 1]]),
    ("stack_step_3", &[ROWS, run![3: 0 1 2]]),
    ("stack_step_4", &[ROWS, run![4: 0 1 2 3]]),
];

/// Elements that the products' loops keep in workgroup memory: three of 512.
const STAGED: usize = 3 * 512;

const HIDDEN: Kernel = Kernel {
    name: STACKS[0].0,
    main: include_str!("../../../shaders/stack_step.wgsl"),
    rows: STACKS[0].1,
    second: "",
    many: true,
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

pub(crate) fn shaders(programs: &[Program]) -> Vec<Shader> {
    let kernels = [1, MOST_LAYERS].map(|layers| move |op: &Recurrence| kernel(op, layers));
    let shaders = kernels.map(|kernel| recurrent::sample_steps(programs, kernel, elements));
    shaders.into_iter().flatten().collect()
}

/// The types of packed weights, input and output.
fn elements(op: &Recurrence, form: Form, [weights, input, output]: [Precision; 3]) -> Vec<Element> {
    let mut elements = recurrent::weight_elements(op, form, weights);
    elements.push(Element::scalar("Input", 3, input));
    elements.push(Element::scalar("Output", 5, output));
    elements
}

/// The kernel for so many layers of an operation's kind, if there is one.
fn kernel(op: &Recurrence, layers: usize) -> Option<Kernel> {
    let (name, rows) = *STACKS.get(layers.checked_sub(1)?)?;
    let phases = op.spec.layer_norm.is_some() || op.spec.has_second_product();
    match op.spec.cell {
        _ if phases => None,
        Cell::Lstm => Some(Kernel { name, rows, ..CELL }),
        Cell::Elman | Cell::Gru => Some(Kernel {
            name,
            rows,
            ..HIDDEN
        }),
    }
}

/// Records the layers, those that no dispatch can do as a whole by `record_part`.
pub(crate) fn record(
    op: &StackStep,
    recorder: &mut Recorder<'_>,
    record_part: fn(&Operation, &mut Recorder<'_>) -> Result<()>,
) -> Result<()> {
    let mut rest = &op.layers[..];
    while let Some(first) = rest.first() {
        let Some(form) = chosen(first, recorder) else {
            let parts = first.parts();
            (parts.iter()).try_for_each(|part| record_part(part, recorder))?;
            rest = &rest[1..];
            continue;
        };
        let together = (1..=rest.len().min(MOST_LAYERS))
            .take_while(|&count| is_one_dispatch(&rest[..count], form, recorder))
            .last();
        let (layers, after) = rest.split_at(together.unwrap_or(1));
        record_layers(layers, form, recorder)?;
        rest = after;
    }
    Ok(())
}

/// Records the dispatch of some layers.
fn record_layers(layers: &[LayerStep], form: Form, recorder: &mut Recorder<'_>) -> Result<()> {
    let (Some(first), Some(last)) = (layers.first(), layers.last()) else {
        return Ok(());
    };
    let Some(kernel) = kernel(&first.recurrence, layers.len()) else {
        return Err(Error::State("there is no kernel for so many layers"));
    };
    layers.iter().try_for_each(|layer| check(layer, recorder))?;
    let recurrence = &first.recurrence;
    let hidden = recurrence.hidden;
    let workgroup = match (recorder.software_threads(), layers.len()) {
        (None, 2..) => hidden.min(STACK_WORKGROUP),
        (cores, _) => hidden.div_ceil(cores.unwrap_or(1)).min(WORKGROUP),
    };
    let most = recorder.limits().max_compute_invocations_per_workgroup as usize;
    let workgroup = { workgroup.next_power_of_two().min(most) }.max(form.least_workgroup());
    let mut overrides = recurrent::variant(recurrence);
    overrides.push(("WORKGROUP", workgroup as f64));
    overrides.push(("KEPT", kept(layers, form).max(1) as f64));
    let edges = [
        recurrence.weights,
        first.projection.a.region,
        last.output.output,
    ];
    let elements = elements(
        recurrence,
        form,
        edges.map(|region| recorder.stored(region)),
    );
    let params: Vec<Params> = layers.iter().map(params).collect();
    let [blocks, tiles] = [
        hidden.div_ceil(workgroup),
        recurrence.batch.div_ceil(form.tile),
    ];
    let multiply_adds = layers.iter().map(|layer| multiply_adds(layer, form));
    recorder.dispatch(&Dispatch {
        shader: &recurrent::shader(recurrence, &kernel, form, &elements),
        overrides: &overrides,
        uniform: &recurrent::uniform(&params),
        step: None,
        bindings: &bindings((first, last), form),
        workgroups: [blocks as u32, tiles as u32, 1],
        cost: (blocks * tiles * multiply_adds.sum::<usize>()) as u64,
    })
}

/// The kernel's form, if one dispatch can do a layer and gains from it.
fn chosen(layer: &LayerStep, recorder: &Recorder<'_>) -> Option<Form> {
    let recurrence = &layer.recurrence;
    let kernel = kernel(recurrence, 1)?;
    if recurrence.batch > MOST_SEQUENCES
        || !is_in_order(recurrence, recorder)
        || has_conflict((layer, layer), recorder)
    {
        return None;
    }
    let form = Form::new(recurrent::choose(kernel.name, (recurrence, 1), recorder));
    let storage = recorder.limits().max_storage_buffers_per_shader_stage as usize;
    let fits = kernel.storage_buffers(form) <= storage
        && recurrent::fits_one_dispatch(recurrence, &[layer.projection.k], form);
    fits.then_some(form)
}

/// Whether the sorted sequences are in the caller's order.
fn is_in_order(op: &Recurrence, recorder: &Recorder<'_>) -> bool {
    let order = recorder.words("sequences", op.order_table, op.batch);
    order.is_ok_and(|order| (0..).zip(order).all(|(index, &word)| index == word))
}

/// Whether one dispatch can do all of these layers, the first of which it can, and gains from it.
fn is_one_dispatch(layers: &[LayerStep], form: Form, recorder: &Recorder<'_>) -> bool {
    let (Some((last, below)), Some(first)) = (layers.split_last(), layers.first()) else {
        return false;
    };
    if below.is_empty() {
        return true;
    }
    let memory = (kept(layers, form) + STAGED) * size_of::<f32>();
    let inputs: Vec<usize> = layers.iter().map(|layer| layer.projection.k).collect();
    let small = |layer: &LayerStep| multiply_adds(layer, form) <= MOST_REPEATED;
    below.iter().all(small)
        && layers.windows(2).all(|pair| follows(&pair[0], &pair[1]))
        && !has_conflict((first, last), recorder)
        && memory <= recorder.limits().max_compute_workgroup_storage_size as usize
        && recurrent::fits_one_dispatch(&first.recurrence, &inputs, form)
}

/// Whether a layer is of the same shape as the one below, takes its output, and has weights and states in the same buffers.
fn follows(below: &LayerStep, layer: &LayerStep) -> bool {
    let shape = |layer: &LayerStep| {
        let op = &layer.recurrence;
        (
            (op.spec, op.mode, op.hidden, op.state, op.batch),
            (op.offsets_table, op.order_table),
        )
    };
    let buffers = |layer: &LayerStep| {
        let rows = [Some(layer.first_h), layer.first_c].map(|rows| Some(rows?.source.buffer));
        let last = [Some(layer.last_h), layer.last_c].map(|rows| Some(rows?.target.buffer));
        (layer.recurrence.weights.buffer, rows, last)
    };
    shape(below) == shape(layer)
        && buffers(below) == buffers(layer)
        && layer.projection.a.region == below.output.output
        && layer.projection.k == below.recurrence.state
}

/// Elements of the states that layers pass on in a workgroup's memory: of one layer, or of two in turns.
fn kept(layers: &[LayerStep], form: Form) -> usize {
    let state = layers.first().map_or(0, |layer| layer.recurrence.state);
    (layers.len() - 1).min(2) * form.tile * state
}

/// Multiply-adds of a tile's step through a layer.
fn multiply_adds(layer: &LayerStep, form: Form) -> usize {
    let sequences = layer.recurrence.batch.min(form.tile);
    sequences * (layer.projection.k + layer.recurrence.state) * layer.projection.n
}

/// Whether a buffer that one dispatch of the layers from a first to a last would write is another one of its buffers, as when a
/// stream's state is carried in place.
fn has_conflict((first, last): (&LayerStep, &LayerStep), recorder: &Recorder<'_>) -> bool {
    let mut read = vec![first.projection.a.region, first.first_h.source];
    read.extend(first.first_c.map(|rows| rows.source));
    let mut written = vec![last.output.output, last.last_h.target];
    written.extend(last.last_c.map(|rows| rows.target));
    let all = || read.iter().chain(&written).enumerate();
    let conflicts = |(index, region): (usize, &Region)| {
        let mut others = all().filter(|(other, _)| *other != index);
        others.any(|(_, other)| recorder.is_one_buffer(region.buffer, other.buffer))
    };
    all().skip(read.len()).any(conflicts)
}

/// What the parts' own checks would find, for what the kernel touches.
fn check(layer: &LayerStep, recorder: &Recorder<'_>) -> Result<()> {
    let recurrence = &layer.recurrence;
    recurrent::check(recurrence, recorder)?;
    let rows = |width: usize| count(&[recurrence.batch, width]);
    let (inputs, state) = (layer.projection.k, rows(recurrence.state));
    let (layout, units) = (
        &recurrence.layout,
        recurrence.hidden * recurrence.layout.slots,
    );
    for (offset, terms) in [(layout.input, inputs), (layout.input_bias, 1)] {
        let end = offset.saturating_add(count(&[terms, units]));
        if end > layout.len() {
            return Err(Error::shape("packed weights", layout.len(), end));
        }
    }
    recorder.check("x", layer.projection.a.region, rows(inputs))?;
    recorder.check("first h", layer.first_h.source, state)?;
    recorder.check("output", layer.output.output, state)?;
    recorder.check("last h", layer.last_h.target, state)?;
    let first_c = layer.first_c.map(|rows| rows.source);
    let last_c = layer.last_c.map(|rows| rows.target);
    for cells in first_c.into_iter().chain(last_c) {
        recorder.check("cell states", cells, rows(recurrence.hidden))?;
    }
    Ok(())
}

fn bindings((first, last): (&LayerStep, &LayerStep), form: Form) -> Vec<Binding> {
    let mut bindings = recurrent::weight_bindings(&first.recurrence, form);
    bindings.extend([
        Binding::Read(first.projection.a.region.buffer),
        Binding::Read(first.first_h.source.buffer),
        Binding::ReadWrite(last.output.output.buffer),
        Binding::ReadWrite(last.last_h.target.buffer),
    ]);
    bindings.extend(first.first_c.map(|rows| Binding::Read(rows.source.buffer)));
    bindings.extend(
        last.last_c
            .map(|rows| Binding::ReadWrite(rows.target.buffer)),
    );
    bindings
}

fn params(layer: &LayerStep) -> Params {
    let word = |region: Region| region.offset as u32;
    let mut params = Params::new(&layer.recurrence);
    params.inputs = layer.projection.k as u32;
    params.x = word(layer.projection.a.region);
    params.y = word(layer.output.output);
    params.first_h = word(layer.first_h.source);
    params.last_h = word(layer.last_h.target);
    params.first_c = layer.first_c.map_or(0, |rows| word(rows.source));
    params.last_c = layer.last_c.map_or(0, |rows| word(rows.target));
    params
}
