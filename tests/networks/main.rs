//! Whole networks on both devices against the reference. One binary, so that all tests share the devices' compiled
//! pipelines.

#[path = "../common/mod.rs"]
mod common;

mod cpu;
mod extremes;
mod gpu;
mod half;
mod memory;
mod properties;
mod reuse;
mod steps;
mod tuning;
