//! [`RecurrentBackward`] on the GPU.

use crate::error::{Error, Result};
use crate::gpu::recorder::Recorder;
use crate::gpu::shader::Shader;
use crate::ops::RecurrentBackward;

pub(crate) fn shaders() -> Vec<Shader> {
    Vec::new()
}

pub(crate) fn record(_: &RecurrentBackward, _: &mut Recorder<'_>) -> Result<()> {
    Err(Error::State("the recurrent backward kernel is missing"))
}
