//! One recurrence for each cell's kernel, for the list of shaders.

use super::form::Form;
use super::shader::{Kernel, kept_elements, shader, variant};
use crate::config::{GruReset, LayerNormKind, Peephole};
use crate::error::Result;
use crate::gpu::element::Element;
use crate::gpu::shader::Shader;
use crate::ops::{Precision, Recurrence};

/// A recurrence of every cell's kernel, for the list of shaders.
fn samples() -> Result<Vec<Recurrence>> {
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
        let options = crate::rnn::NetworkOptions::default();
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

/// The forms that are listed: all in single precision, one tile in half, which changes loads and stores alone.
fn forms(op: &Recurrence) -> impl Iterator<Item = (Form, Precision)> {
    let all = Form::all(op).into_iter();
    all.flat_map(|form| {
        let half = (form.tile == 4).then_some(Precision::F16);
        let stored = [Some(Precision::F32), half];
        stored
            .into_iter()
            .flatten()
            .map(move |stored| (form, stored))
    })
}

/// A kernel's shaders for each cell, strategy and form.
pub(in crate::gpu::kernel) fn sample_shaders(kernel: &Kernel) -> Vec<Shader> {
    let samples = samples().unwrap_or_default();
    let mut shaders = Vec::new();
    let forms = |op| forms(op).map(move |form| (op, form));
    for (op, (form, stored)) in samples.iter().flat_map(forms) {
        let elements = kept_elements(op, form, [stored; 3]);
        for persistent in [true, false] {
            let mut overrides = variant(op);
            overrides.push(("WORKGROUP", 64.0));
            overrides.push(("PERSISTENT", f64::from(u8::from(persistent))));
            shaders.push(shader(op, kernel, form, &elements).with_overrides(&overrides));
        }
    }
    shaders
}

/// A layer's step's shaders for each cell that `kernel` has one for, in every form.
pub(in crate::gpu::kernel) fn sample_steps(
    kernel: fn(&Recurrence) -> Option<&'static Kernel>,
    elements: fn(&Recurrence, Form, [Precision; 3]) -> Vec<Element>,
) -> Vec<Shader> {
    let mut shaders = Vec::new();
    for op in samples().unwrap_or_default() {
        let Some(kernel) = kernel(&op) else { continue };
        for (form, stored) in forms(&op) {
            let elements = elements(&op, form, [stored; 3]);
            let mut overrides = variant(&op);
            overrides.push(("WORKGROUP", 64.0));
            shaders.push(shader(&op, kernel, form, &elements).with_overrides(&overrides));
        }
    }
    shaders
}
