//! What surrounds a network in training: optimizers, schedules, initial weights, gradients in parts. Where the device counts, on
//! the CPU and on Vulkan and GL.

mod carried;
mod initial;
mod optimizers;
mod schedules;
mod support;
mod task;
mod trainer;
mod truncated;
