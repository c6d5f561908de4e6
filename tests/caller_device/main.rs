//! The GPU device in a host program: on its `wgpu` device, its buffers and its encoder; two devices side by side; what a
//! planned run allocates; a device that is lost and one that is full.

mod failure;
mod host;
mod limits;
mod recorded;
mod steady;
