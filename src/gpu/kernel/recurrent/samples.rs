//! The recurrent kernels' shaders for the recurrences of some programs, for the list of all.

use super::form::Form;
use super::shader::{Kernel, kept_elements, shader, variant};
use crate::gpu::element::Element;
use crate::gpu::shader::Shader;
use crate::ops::{Operation, Precision, Program, Recurrence, Section};

/// Each program's recurrence in each form that is listed: all in single precision, one tile in half, which changes loads and
/// stores alone.
fn cases(programs: &[Program]) -> Vec<(Recurrence, Form, Precision)> {
    let of_program = |program: &Program| {
        let mut forward = program.section(Section::Forward).iter();
        let op = forward.find_map(|operation| match operation {
            Operation::RecurrentForward(op) => Some(op.clone()),
            _ => None,
        })?;
        let stored = program.buffers().get(op.weights.buffer.0)?.precision;
        let listed = |form: &Form| stored == Precision::F32 || form.tile == 4;
        let forms = Form::all(&op).into_iter().filter(listed);
        Some(forms.map(|form| (op.clone(), form, stored)).collect())
    };
    let cases: Vec<Vec<_>> = programs.iter().filter_map(of_program).collect();
    cases.concat()
}

/// The shaders of kernels over many steps for each program, strategy and form; of those for waves, which differ from others in the
/// uniform alone, of one tile.
pub(in crate::gpu::kernel) fn sample_shaders(
    programs: &[Program],
    kernels: &[fn(&Recurrence) -> &'static Kernel],
) -> Vec<Shader> {
    let mut shaders = Vec::new();
    for (op, form, stored) in &cases(programs) {
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
    programs: &[Program],
    kernel: impl Fn(&Recurrence) -> Option<Kernel>,
    elements: fn(&Recurrence, Form, [Precision; 3]) -> Vec<Element>,
) -> Vec<Shader> {
    let mut shaders = Vec::new();
    for (op, form, stored) in &cases(programs) {
        let Some(kernel) = kernel(op) else { continue };
        let elements = elements(op, *form, [*stored; 3]);
        let mut overrides = variant(op);
        overrides.push(("WORKGROUP", 64.0));
        shaders.push(shader(op, &kernel, *form, &elements).with_overrides(&overrides));
    }
    shaders
}
