//! One recurrence for each cell's kernel, for the list of shaders.

use super::form::Form;
use super::shader::{Kernel, kept_elements, shader, variant};
use crate::config::{GruReset, LayerNormKind, Peephole};
use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::shader::Shader;
use crate::ops::{Precision, Recurrence};

/// A recurrence of every cell's kernel, for the list of shaders.
fn samples(storage: Precision) -> Result<Vec<Recurrence>> {
    use crate::config::RnnConfig;
    use crate::ops::{Operation, Program, Role, Section};
    let whole = LayerNormKind::WholeThenSum;
    let configs = [
        RnnConfig::elman(3, 5).build()?,
        RnnConfig::lstm(3, 5)
            .peephole(Peephole::New)
            .projection(2, true)
            .build()?,
        RnnConfig::lstm(3, 5).build()?,
        RnnConfig::lstm(3, 5).layer_norm(whole, 1e-5).build()?,
        RnnConfig::lstm(3, 5)
            .layer_norm(LayerNormKind::PerGate, 1e-5)
            .peephole(Peephole::Old)
            .projection(2, false)
            .build()?,
        RnnConfig::gru(3, 5).build()?,
        RnnConfig::gru(3, 5).reset(GruReset::Before).build()?,
        RnnConfig::gru(3, 5).layer_norm(whole, 1e-5).build()?,
    ];
    let packing = std::sync::Arc::new(crate::batch::Packing::dense(2, 1)?);
    let mut samples = Vec::new();
    for config in configs {
        let mut program = Program::new();
        let len = crate::params::ParameterLayout::new(&config)?.len();
        let parameters = program.buffer("parameters", len, Role::External);
        let options = crate::rnn::NetworkOptions {
            storage,
            ..Default::default()
        };
        let network = crate::rnn::Network::new(
            &mut program,
            &config,
            &packing,
            &options,
            parameters.into(),
            None,
        )?;
        network.forward(&mut program)?;
        let recurrence = program
            .section(Section::Forward)
            .iter()
            .find_map(|op| match op {
                Operation::RecurrentForward(op) => Some(op.clone()),
                _ => None,
            });
        samples.extend(recurrence);
    }
    Ok(samples)
}

/// Every recurrence in each form that is listed: all in single precision, one tile in half, which changes loads and stores
/// alone.
fn cases() -> Vec<(Recurrence, Form, Precision)> {
    let of = |stored| {
        let forms = move |op: Recurrence| {
            let listed = move |form: &Form| stored == Precision::F32 || form.tile == 4;
            let forms = Form::all(&op).into_iter().filter(listed);
            forms.map(move |form| (op.clone(), form, stored))
        };
        samples(stored)
            .unwrap_or_default()
            .into_iter()
            .flat_map(forms)
    };
    of(Precision::F32).chain(of(Precision::F16)).collect()
}

/// The shaders of kernels over many steps for each cell, strategy and form; of those for waves, which differ from others in the
/// uniform alone, of one tile.
pub(in crate::gpu::kernel) fn sample_shaders(
    kernels: &[fn(&Recurrence) -> &'static Kernel],
) -> Vec<Shader> {
    let mut shaders = Vec::new();
    for (op, form, stored) in &cases() {
        let elements = kept_elements(op, *form, [*stored; 4]);
        let kernels = kernels.iter().map(|kernel| kernel(op));
        for kernel in kernels.filter(|kernel| !kernel.many || form.tile == 4) {
            for persistent in [true, false] {
                let mut overrides = variant(op);
                overrides.push(("WORKGROUP", 64.0));
                overrides.push(("PERSISTENT", f64::from(u8::from(persistent))));
                shaders.push(shader(op, kernel, *form, &elements).with_overrides(&overrides));
            }
        }
    }
    shaders
}

/// The shaders of layers' steps for each cell that there is a `kernel` for, in every form.
pub(in crate::gpu::kernel) fn sample_steps(
    kernel: impl Fn(&Recurrence) -> Option<Kernel>,
    elements: fn(&Recurrence, Form, [Precision; 3]) -> Vec<Element>,
) -> Vec<Shader> {
    let mut shaders = Vec::new();
    for (op, form, stored) in &cases() {
        let Some(kernel) = kernel(op) else { continue };
        let elements = elements(op, *form, [*stored; 3]);
        let mut overrides = variant(op);
        overrides.push(("WORKGROUP", 64.0));
        shaders.push(shader(op, &kernel, *form, &elements).with_overrides(&overrides));
    }
    shaders
}
