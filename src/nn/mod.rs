//! What stands around a recurrent network: operations appended to the same [`Program`](crate::ops::Program).
//!
//! A layer pushes its forward to the forward section and its backward to the backward section. Losses are
//! [operations](crate::ops) themselves: [`PointwiseLoss`](crate::ops::PointwiseLoss),
//! [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy).

mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod pooling;

pub use dropout::Dropout;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::{Linear, linear_parameters};
pub use pooling::{LastStates, Pooling};
