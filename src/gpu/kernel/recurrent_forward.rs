//! [`Recurrence`](crate::ops::Recurrence) on the GPU.

use crate::error::{Error, Result};
use crate::gpu::recorder::Recorder;
use crate::gpu::shader::Shader;
use crate::ops::Recurrence;

pub(crate) fn shaders() -> Vec<Shader> {
    Vec::new()
}

pub(crate) fn record(_: &Recurrence, _: &mut Recorder<'_>) -> Result<()> {
    Err(Error::State("the recurrent forward kernel is missing"))
}
