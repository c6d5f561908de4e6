//! Layers and losses on every device against naive `f64` loops, against finite differences of these, and against PyTorch's
//! values.

mod dropout;
mod embedding;
mod goldens;
mod layer_norm;
mod losses;
mod pooling;
mod refusals;
mod softmax;
mod support;
