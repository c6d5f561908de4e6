//! Every operation on the GPU device against naive loops on the host: tiny, odd, large, strided and empty shapes, on
//! Vulkan under WebGPU's default limits and under the adapter's own, and on GL.
#![cfg(feature = "gpu")]

#[path = "gpu_operations/support.rs"]
mod support;

#[path = "common/rounded.rs"]
mod rounded;

#[path = "common/custom.rs"]
mod custom_cases;

#[path = "common/elementwise.rs"]
mod elementwise_cases;

#[path = "common/recurrences.rs"]
mod recurrences;

#[path = "common/optimizers.rs"]
mod optimizers;

#[path = "gpu_operations/copies.rs"]
mod copies;
#[path = "gpu_operations/custom.rs"]
mod custom;
#[path = "gpu_operations/device.rs"]
mod device;
#[path = "gpu_operations/elementwise.rs"]
mod elementwise;
#[path = "gpu_operations/half.rs"]
mod half;
#[path = "gpu_operations/norms.rs"]
mod norms;
#[path = "gpu_operations/products.rs"]
mod products;
#[path = "gpu_operations/random.rs"]
mod random;
#[path = "gpu_operations/refusals.rs"]
mod refusals;
#[path = "gpu_operations/sums.rs"]
mod sums;
#[path = "gpu_operations/training.rs"]
mod training;
