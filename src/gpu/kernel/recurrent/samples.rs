//! One recurrence for each cell's kernel, for the list of shaders.

use super::form::Form;
use super::shader::{Kernel, shader, variant};
use crate::config::{GruReset, LayerNormKind, Peephole};
use crate::error::Result;
use crate::gpu::shader::Shader;
use crate::ops::Recurrence;

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

/// A kernel's shaders for each cell, strategy and form.
pub(in crate::gpu::kernel) fn sample_shaders(kernel: &Kernel) -> Vec<Shader> {
    let samples = samples().unwrap_or_default();
    let mut shaders = Vec::new();
    let forms = |op| Form::all(op).into_iter().map(move |form| (op, form));
    for (op, form) in samples.iter().flat_map(forms) {
        for persistent in [true, false] {
            let mut overrides = variant(op);
            overrides.push(("WORKGROUP", 64.0));
            overrides.push(("PERSISTENT", f64::from(u8::from(persistent))));
            shaders.push(shader(op, kernel, form).with_overrides(&overrides));
        }
    }
    shaders
}

/// A layer's step's shaders for each cell that `kernel` has one for, in every form.
pub(in crate::gpu::kernel) fn sample_steps(
    kernel: fn(&Recurrence) -> Option<&'static Kernel>,
) -> Vec<Shader> {
    let mut shaders = Vec::new();
    for op in samples().unwrap_or_default() {
        let Some(kernel) = kernel(&op) else { continue };
        for form in Form::all(&op) {
            let mut overrides = variant(&op);
            overrides.push(("WORKGROUP", 64.0));
            shaders.push(shader(&op, kernel, form).with_overrides(&overrides));
        }
    }
    shaders
}
