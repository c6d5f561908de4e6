//! Whole networks on both devices against the reference. One binary, so that all tests share the devices' compiled
//! pipelines.

#[path = "../common/mod.rs"]
mod common;

mod cpu;
mod extremes;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(feature = "gpu")]
mod gpu_steps;
#[cfg(feature = "gpu")]
mod half;
#[cfg(feature = "gpu")]
mod half_memory;
mod memory;
mod properties;
mod reuse;
mod steps;
#[cfg(feature = "gpu")]
mod tuning;
mod wavefront;
