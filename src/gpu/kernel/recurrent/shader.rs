//! The shaders of the recurrent kernels: the table of cells, what they bind, and their variants.

use super::form::Form;
use super::params::Params;
use crate::config::{Cell, Coupled, GruReset, GruUpdate, LayerNormKind, Peephole};
use crate::gpu::element::Element;
use crate::gpu::kernel::lib;
use crate::gpu::pipeline::UNIFORM_BYTES;
use crate::gpu::recorder::{Binding, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{Mode, Precision, Recurrence};

macro_rules! module {
    ($path:literal) => {
        include_str!(concat!("../../../../shaders/", $path))
    };
}

/// The row of a cell in the table of cells: what its shader is made of besides the modules that all share.
fn cell_modules(op: &Recurrence) -> (&'static str, Vec<&'static str>) {
    let norm = op.spec.layer_norm.map(|norm| norm.kind);
    match (op.spec.cell, norm, op.spec.reset) {
        (Cell::Elman, ..) => (
            "elman",
            vec![module!("lib/no_norm.wgsl"), module!("cell/elman.wgsl")],
        ),
        (Cell::Gru, Some(_), _) => (
            "gru_whole_norm",
            vec![
                module!("cell/gru_unit.wgsl"),
                module!("cell/whole_norm.wgsl"),
                module!("cell/gru_whole_norm.wgsl"),
            ],
        ),
        (Cell::Gru, None, GruReset::After) => (
            "gru",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("cell/gru_unit.wgsl"),
                module!("cell/gru.wgsl"),
            ],
        ),
        (Cell::Gru, None, GruReset::Before) => (
            "gru_reset_before",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("cell/gru_unit.wgsl"),
                module!("cell/gru_reset_before.wgsl"),
            ],
        ),
        (Cell::Lstm, None, _) => (
            "lstm",
            vec![
                module!("lib/no_norm.wgsl"),
                module!("cell/lstm_unit.wgsl"),
                module!("cell/lstm_projection.wgsl"),
                module!("cell/lstm.wgsl"),
            ],
        ),
        (Cell::Lstm, Some(LayerNormKind::WholeThenSum), _) => (
            "lstm_whole_norm",
            vec![
                module!("cell/lstm_unit.wgsl"),
                module!("cell/whole_norm.wgsl"),
                module!("cell/lstm_whole_norm.wgsl"),
            ],
        ),
        (Cell::Lstm, Some(LayerNormKind::PerGate), _) => (
            "lstm_gate_norm",
            vec![
                module!("cell/lstm_unit.wgsl"),
                module!("cell/lstm_projection.wgsl"),
                module!("cell/lstm_gate_norm.wgsl"),
            ],
        ),
    }
}

/// What of a unit's slots the products of an operation's cell have.
fn products(op: &Recurrence) -> Vec<&'static str> {
    let of_cell = match (op.spec.cell, op.spec.reset) {
        (Cell::Elman, _) => return vec![module!("lib/products_scalar.wgsl")],
        (Cell::Lstm, _) => module!("lib/products_lstm.wgsl"),
        (Cell::Gru, GruReset::After) => module!("lib/products_gru.wgsl"),
        (Cell::Gru, GruReset::Before) => module!("lib/products_gru_reset_before.wgsl"),
    };
    vec![of_cell, module!("lib/products_vector.wgsl")]
}

/// The name of an operation's cell in the table of cells.
pub(super) fn cell_name(op: &Recurrence) -> &'static str {
    cell_modules(op).0
}

/// The modules of one of the kernels.
#[derive(Debug)]
pub(in crate::gpu::kernel) struct Kernel {
    /// The stem.
    pub(in crate::gpu::kernel) name: &'static str,
    /// Its source: the last module.
    pub(in crate::gpu::kernel) main: &'static str,
    /// Where its rows come from and go to.
    pub(in crate::gpu::kernel) rows: &'static [&'static str],
    /// Its second product, where it may have one.
    pub(in crate::gpu::kernel) second: &'static str,
    /// Whether a dispatch takes several cells, up to [`MOST_CELLS`]: the uniform is an array of [`Params`].
    pub(in crate::gpu::kernel) many: bool,
    /// Whether it does the products of layers' inputs too.
    pub(in crate::gpu::kernel) input: bool,
    /// How it uses its buffers.
    pub(in crate::gpu::kernel) bindings: &'static [Access],
    /// Elements of a term of the recurrent product.
    pub(in crate::gpu::kernel) term: fn(&Recurrence) -> usize,
}

/// Cells of a dispatch: as many as the uniform has room for.
pub(in crate::gpu::kernel) const MOST_CELLS: usize = UNIFORM_BYTES / size_of::<Params>();

/// The uniform of a kernel of several cells.
pub(in crate::gpu::kernel) fn uniform(cells: &[Params]) -> Vec<u8> {
    let mut bytes = bytemuck::cast_slice(cells).to_vec();
    bytes.resize(MOST_CELLS * size_of::<Params>(), 0);
    bytes
}

impl Kernel {
    /// How it uses what it binds, the packed weights in a texture of this precision or in a buffer.
    fn access(&self, texture: Option<Precision>) -> Vec<Access> {
        let mut access = self.bindings.to_vec();
        if let Some(precision) = texture {
            access[0] = Access::Texture(precision);
        }
        access
    }

    /// Storage buffers that it binds in a form.
    pub(in crate::gpu::kernel) fn storage_buffers(&self, form: Form) -> usize {
        let access = self
            .access(form.texture.then_some(Precision::F32))
            .into_iter();
        access.filter(|access| access.is_storage()).count()
    }
}

/// The shader of a kernel for the cell of `op`, in a form, with its types of stored elements.
pub(in crate::gpu::kernel) fn shader(
    op: &Recurrence,
    kernel: &Kernel,
    form: Form,
    elements: &[Element],
) -> Shader {
    let (cell, of_cell) = cell_modules(op);
    let gates = match op.layout.slots {
        1 => module!("lib/gates_scalar.wgsl"),
        _ => module!("lib/gates_vector.wgsl"),
    };
    let tile = format!("const TILE: u32 = {}u;", form.tile);
    // Of the packed weights, which come first.
    let stored = elements.first().map(|element| element.precision);
    let texture = stored.filter(|_| form.texture);
    let [format, weights] = lib::weights(texture);
    let cells = format!("const CELLS: u32 = {MOST_CELLS}u;");
    let (of_uniform, count) = match kernel.many {
        true => (vec![&cells, module!("lib/cell_many.wgsl")], MOST_CELLS),
        false => (vec![module!("lib/cell_one.wgsl")], 1),
    };
    let recurrent = form.product("recurrent", (kernel.term)(op));
    let second = form.product("second", 1);
    let mut modules = vec![
        gates,
        &tile,
        lib::RANDOM,
        lib::ACTIVATION,
        lib::STEP,
        "const WEIGHTS_BINDING: i32 = 0; alias Weights = Gates;",
        format,
        weights,
        module!("lib/recurrent.wgsl"),
        module!("lib/reduce_vector.wgsl"),
    ];
    modules.extend(of_uniform);
    modules.extend(kernel.rows);
    modules.extend(products(op));
    modules.extend(of_cell);
    let inputs = ["input", "below"].map(|name| form.product(name, 1));
    if kernel.input {
        modules.extend(inputs.iter().map(|product| &**product));
    }
    let mut label = format!("{}_{cell}", kernel.name);
    if op.spec.has_second_product() {
        modules.extend([kernel.second, &second]);
        if op.spec.projection.is_some() {
            label += "_projection";
        }
    } else {
        modules.push(module!("lib/no_second.wgsl"));
    }
    modules.extend([&recurrent, form.units_module(), kernel.main, form.entry()]);
    if kernel.many {
        label += "_wave";
    }
    let label = format!("{label}_{form}");
    let access = kernel.access(texture);
    let shader =
        Shader::new(label, &modules, &access, count * size_of::<Params>()).storing(elements);
    match form.broadcast {
        true => shader.with_subgroups(),
        false => shader,
    }
}

/// [`Kernel::rows`] of the kernels over many steps: all states kept as they run.
pub(in crate::gpu::kernel) const KEPT_ROWS: &[&str] = &[
    module!("lib/rows_gates.wgsl"),
    module!("lib/rows_kept.wgsl"),
    module!("lib/mask_states.wgsl"),
];

/// The forward's, where there are running states beside the kept ones.
pub(in crate::gpu::kernel) const RUNNING_ROWS: &[&str] = &[
    module!("lib/rows_gates.wgsl"),
    module!("lib/rows_running.wgsl"),
    module!("lib/mask_carry.wgsl"),
];

/// The backward's of such a forward: it starts from the kept ones.
pub(in crate::gpu::kernel) const KEPT_ROWS_OF_RUNNING: &[&str] = &[
    module!("lib/rows_gates.wgsl"),
    module!("lib/rows_kept.wgsl"),
    module!("lib/mask_carry.wgsl"),
];

/// The types of the packed weights, as gates and as numbers.
pub(in crate::gpu::kernel) fn weight_elements(
    op: &Recurrence,
    form: Form,
    stored: Precision,
) -> Vec<Element> {
    let mut elements = vec![Element::scalar("PackedNumber", 1, stored)];
    // A load from a texture is single precision, whatever its format.
    if !form.texture {
        elements.push(gates_element(op, "PackedWeights", 0, stored));
    }
    elements
}

/// The types of the kernels over many steps: packed weights, gates, recurrent sums, states.
pub(super) fn kept_elements(
    op: &Recurrence,
    form: Form,
    [weights, gates, sums, states]: [Precision; 4],
) -> Vec<Element> {
    let mut elements = weight_elements(op, form, weights);
    elements.push(Element::scalar("KeptStates", 5, states));
    elements.push(gates_element(op, "KeptGates", 3, gates));
    elements.push(gates_element(op, "KeptSums", 4, sums));
    elements
}

/// How an operation's packed weights, gates, recurrent sums and states are stored.
pub(super) fn stored(op: &Recurrence, recorder: &Recorder<'_>) -> [Precision; 4] {
    let sums = op.recurrent_sums.unwrap_or(op.gates);
    let rows = [op.weights, op.gates, sums, op.states.h];
    rows.map(|region| recorder.stored(region))
}

fn gates_element(
    op: &Recurrence,
    name: &'static str,
    binding: usize,
    precision: Precision,
) -> Element {
    match op.layout.slots {
        1 => Element::scalar(name, binding, precision),
        _ => Element::vector(name, binding, precision),
    }
}

/// The packed weights, and the table: what all kernels bind first.
pub(in crate::gpu::kernel) fn weight_bindings(op: &Recurrence, form: Form) -> Vec<Binding> {
    vec![
        match form.texture {
            true => Binding::Texture(op.weights.buffer),
            false => Binding::Read(op.weights.buffer),
        },
        Binding::Read(op.weights.buffer),
        Binding::Table,
    ]
}

/// The storage buffers that the kernels over many steps bind, in the shader's order.
pub(in crate::gpu::kernel) fn bindings(op: &Recurrence, form: Form) -> Vec<Binding> {
    let sums = op.recurrent_sums.unwrap_or(op.gates);
    let mut bindings = weight_bindings(op, form);
    bindings.extend([op.gates, sums, op.states.h].map(|rows| Binding::ReadWrite(rows.buffer)));
    bindings
}

/// The override constants of the cell's variant.
pub(in crate::gpu::kernel) fn variant(op: &Recurrence) -> Vec<(&'static str, f64)> {
    let spec = &op.spec;
    let flag = |on: bool| f64::from(u8::from(on));
    let [forward, reverse] = spec.activations;
    let code = |activation: crate::config::Activation| f64::from(activation.code().0);
    let mut overrides = vec![
        ("HAS_NORM", flag(spec.layer_norm.is_some())),
        ("HAS_SECOND", flag(spec.has_second_product())),
        ("WHOLE_NORM", flag(spec.is_whole_norm())),
        ("CLIP_GATES", flag(spec.clip.gates.is_some())),
        ("ZONEOUT_HIDDEN", flag(spec.zoneout.hidden > 0.0)),
        ("SAMPLED", flag(op.mode == Mode::Training)),
        ("MASKED", flag(op.mask().is_some())),
        ("CANDIDATE_0", code(forward.candidate)),
        ("CANDIDATE_1", code(reverse.candidate)),
        ("KEEPS_GATES", flag(op.keeps_gates)),
        ("PROJECTION", flag(spec.projection.is_some())),
        ("GATE_0", code(forward.gate)),
        ("GATE_1", code(reverse.gate)),
    ];
    if spec.cell == Cell::Gru {
        overrides.push(("TAKE_NEW", flag(spec.update == GruUpdate::TakeNew)));
    }
    if spec.cell == Cell::Lstm {
        let peephole = match spec.peephole {
            None => 0.0,
            Some(Peephole::New) => 1.0,
            Some(Peephole::Old) => 2.0,
        };
        let coupled = match spec.coupled {
            None => 0.0,
            Some(Coupled::ForgetFromInput) => 1.0,
            Some(Coupled::InputFromForget) => 2.0,
        };
        overrides.extend([
            ("PEEPHOLE", peephole),
            ("COUPLED", coupled),
            ("CLIP_CELL", flag(spec.clip.cell.is_some())),
            ("CLIP_HIDDEN", flag(spec.clip.hidden.is_some())),
            ("CLIP_PROJECTION", flag(spec.clip.projection.is_some())),
            ("ZONEOUT_CELL", flag(spec.zoneout.cell > 0.0)),
            ("HIDDEN_0", code(forward.hidden)),
            ("HIDDEN_1", code(reverse.hidden)),
        ]);
    }
    overrides
}
