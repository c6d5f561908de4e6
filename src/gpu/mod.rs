//! The wgpu device.

/// A range of a `wgpu` buffer.
#[derive(Debug, Clone)]
pub struct BufferSlice;

/// The GPU device.
#[derive(Debug)]
pub struct GpuDevice;
