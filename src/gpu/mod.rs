//! The wgpu device: Vulkan, Metal, DX12, GL and WebGPU.
//!
//! A [`Program`](crate::ops::Program) is *recorded* once, when it is loaded: each operation becomes dispatches held as
//! data, all their parameters go into one uniform buffer, all bind groups and pipelines are made. Running a section then
//! only replays dispatches into command encoders: [`GpuPlan::run`](crate::device::Plan::run) submits them,
//! [`GpuPlan::record`] writes them into an encoder of the caller's.
//!
//! Nothing beyond WebGPU's default limits and no optional feature is needed, subgroups, half precision and timestamps are used where they are: see [`REQUIRED_FEATURES`] and
//! [`required_limits`].

mod adapter;
mod buffer;
mod cache;
mod choice;
mod context;
mod device;
mod element;
mod interface;
mod kernel;
mod loader;
mod lock;
mod options;
mod pipeline;
mod plan;
mod profile;
mod recorder;
pub mod shader;
mod texture;
mod tuner;
mod unroll;

pub use adapter::list_adapters;
pub use buffer::BufferSlice;
pub use device::{GpuDevice, OPTIONAL_FEATURES, REQUIRED_FEATURES, required_limits};
pub use kernel::shaders;
pub use options::{GpuOptions, LimitsChoice, Strategy, Tuning};
pub use plan::GpuPlan;
pub use tuner::Tuned;
