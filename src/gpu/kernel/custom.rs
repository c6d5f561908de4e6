//! [`CustomOperation`] on the GPU: the user's shader, once it is seen to declare what it is given.

use crate::error::{Error, Result};
use crate::gpu::interface;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::{CustomOperation, Operand};

pub(crate) fn record(op: &CustomOperation, recorder: &mut Recorder<'_>) -> Result<()> {
    let name = op.kernel.name();
    for operand in op.operands() {
        recorder.check(name, operand.region, operand.len)?;
    }
    op.validate()?;
    check_aliases(op, recorder)?;
    let Some(custom) = op.kernel.shader(op) else {
        return Err(op.refuse("it has no shader, so that a GPU cannot run it"));
    };
    interface::check(op, &custom).map_err(|reason| op.refuse(reason))?;
    if custom.workgroups.contains(&0) {
        let [x, y, z] = custom.workgroups;
        return Err(op.refuse(format!(
            "its shader asks for {x} x {y} x {z} workgroups, none"
        )));
    }
    let uniform = interface::uniform(op, &custom);
    let uniform: &[u8] = bytemuck::cast_slice(&uniform);
    let accesses = interface::accesses(op);
    let bind = |(operand, access): (&Operand, &Access)| match access {
        Access::ReadWrite => Binding::ReadWrite(operand.region.buffer),
        _ => Binding::Read(operand.region.buffer),
    };
    let bindings: Vec<Binding> = op.operands().zip(&accesses).map(bind).collect();
    let elements: usize = op.operands().map(|operand| operand.len).sum();
    recorder.dispatch(&Dispatch {
        shader: &Shader::foreign(name, &custom.source, &accesses, uniform.len()),
        overrides: &[],
        uniform,
        step: None,
        bindings: &bindings,
        workgroups: custom.workgroups,
        cost: custom.cost.unwrap_or(elements as u64),
    })
}

/// Two of the program's buffers may be one of the caller's.
fn check_aliases(op: &CustomOperation, recorder: &Recorder<'_>) -> Result<()> {
    for written in op.written() {
        let written = written.region.buffer;
        let mut others = op.operands().map(|operand| operand.region.buffer);
        let same = |other: &_| *other != written && recorder.is_one_buffer(*other, written);
        if let Some(other) = others.find(same) {
            let [a, b] = [other, written].map(|buffer| recorder.label(buffer));
            return Err(Error::shape(
                format!("external buffers `{a}` and `{b}`"),
                "two buffers, since one operation uses both and writes",
                "ranges of one",
            ));
        }
    }
    Ok(())
}
