//! Shaders: WGSL modules concatenated to one source, and what it expects to be bound.
//!
//! Every shader has the same shape. Group 0 holds the parameters: binding 0 a uniform of 4-byte scalars, binding 1 the
//! relative step of a dispatch that is one of many (declared by `lib/step.wgsl`). Group 1 holds the storage buffers in
//! the order of [`Shader::bindings`]. The entry point is `main`.

use std::sync::Arc;

use super::element::{self, Element};
use crate::ops::Precision;

/// How a shader uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
    /// `var` of type `texture_storage_2d<rgba32float, read>`, or `rgba16float`: a copy of the buffer, four elements a texel, in
    /// rows of [`TEXTURE_WIDTH`]
    Texture(Precision),
}

impl Access {
    /// Whether it takes one of the device's storage buffers.
    pub fn is_storage(self) -> bool {
        !matches!(self, Self::Texture(_))
    }
}

/// Texels in a row of a buffer's copy; `lib/weights_texture.wgsl` knows it too.
pub const TEXTURE_WIDTH: usize = 4096;

/// An assembled shader.
#[derive(Debug, Clone, PartialEq)]
pub struct Shader {
    label: String,
    source: Arc<str>,
    bindings: Vec<Access>,
    /// How the elements of each binding are stored.
    precisions: Vec<Precision>,
    overrides: Vec<(&'static str, f64)>,
    uniform_bytes: usize,
    subgroups: bool,
    /// Whether the run-time checks stay: nobody here vouches for it.
    foreign: bool,
}

impl Shader {
    /// Concatenates `modules`. `uniform_bytes` is the size of the Rust twin of the uniform at group 0, binding 0.
    pub(crate) fn new(
        label: impl Into<String>,
        modules: &[&str],
        bindings: &[Access],
        uniform_bytes: usize,
    ) -> Self {
        Self {
            label: label.into(),
            source: modules.join("\n").into(),
            bindings: bindings.to_vec(),
            precisions: vec![Precision::F32; bindings.len()],
            overrides: Vec::new(),
            uniform_bytes,
            subgroups: false,
            foreign: false,
        }
    }

    /// A shader of the user's own, which keeps the run-time checks.
    pub(crate) fn foreign(
        label: &str,
        source: &str,
        bindings: &[Access],
        uniform_bytes: usize,
    ) -> Self {
        Self {
            foreign: true,
            ..Self::new(label, &[source], bindings, uniform_bytes)
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Declares the types of stored elements that it names; the buffers of other bindings hold `f32` or `u32`.
    pub(crate) fn storing(mut self, elements: &[Element]) -> Self {
        self.source = (element::module(elements) + &self.source).into();
        self.label += &element::suffix(elements);
        for element in elements {
            self.precisions[element.binding] = element.precision;
        }
        self
    }

    /// Marks it as one for adapters with subgroups of at least eight lanes.
    pub(crate) fn with_subgroups(mut self) -> Self {
        self.subgroups = true;
        self
    }

    /// Values of the override constants that have no default, or a typical one: what the translation test uses.
    pub(crate) fn with_overrides(mut self, overrides: &[(&'static str, f64)]) -> Self {
        self.overrides = overrides.to_vec();
        self
    }

    /// Its name, which is also that of the operation.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// WGSL.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn shared_source(&self) -> &Arc<str> {
        &self.source
    }

    /// The storage buffers of group 1.
    pub fn bindings(&self) -> &[Access] {
        &self.bindings
    }

    /// How the elements of each of these buffers are stored.
    pub fn precisions(&self) -> &[Precision] {
        &self.precisions
    }

    /// Whether it needs `wgpu::Features::SHADER_F16`.
    pub fn needs_f16(&self) -> bool {
        self.precisions.contains(&Precision::F16)
    }

    /// Typical values of override constants.
    pub fn overrides(&self) -> &[(&'static str, f64)] {
        &self.overrides
    }

    /// Whether it needs `wgpu::Features::SUBGROUP`.
    pub fn needs_subgroups(&self) -> bool {
        self.subgroups
    }

    /// Bytes of the uniform at group 0, binding 0.
    pub fn uniform_bytes(&self) -> usize {
        self.uniform_bytes
    }
}
