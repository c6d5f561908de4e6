//! The fast CPU device.

/// The CPU device.
#[derive(Debug)]
pub struct CpuDevice;
