//! Shader modules that several kernels share.

use crate::ops::Precision;

/// Invocations of a workgroup in kernels of one invocation an element: `@workgroup_size` in their shaders.
pub(crate) const LINEAR: usize = 256;

/// `activate`, `activate_derivative`: the twins of [`Activation`](crate::config::Activation)'s.
pub(crate) const ACTIVATION: &str = include_str!("../../../shaders/lib/activation.wgsl");
/// `is_finite`: neither infinite nor NaN.
pub(crate) const FINITE: &str = include_str!("../../../shaders/lib/finite.wgsl");
/// `linear_group`, `linear_index`: the number of a workgroup or of an invocation of a dispatch over x and y.
pub(crate) const INDEX: &str = include_str!("../../../shaders/lib/index.wgsl");
/// `is_nan`, `whole_below`.
pub(crate) const NUMBER: &str = include_str!("../../../shaders/lib/number.wgsl");
/// `workgroup_sum`: over 256 invocations.
pub(crate) const REDUCE: &str = include_str!("../../../shaders/lib/reduce.wgsl");
/// `relative_step`: see [`Dispatch::step`](crate::gpu::recorder::Dispatch::step).
pub(crate) const STEP: &str = include_str!("../../../shaders/lib/step.wgsl");
/// `weight_at`: of a buffer, or of its copy as a texture.
pub(crate) fn weights(texture: Option<Precision>) -> [&'static str; 2] {
    const TEXTURE: &str = include_str!("../../../shaders/lib/weights_texture.wgsl");
    match texture {
        None => ["", include_str!("../../../shaders/lib/weights_buffer.wgsl")],
        Some(Precision::F32) => [
            "alias WeightsTexture = texture_storage_2d<rgba32float, read>;",
            TEXTURE,
        ],
        Some(Precision::F16) => [
            "alias WeightsTexture = texture_storage_2d<rgba16float, read>;",
            TEXTURE,
        ],
    }
}
/// The twin of [`crate::random`].
pub(crate) const RANDOM: &str = include_str!("../../../shaders/lib/random.wgsl");
