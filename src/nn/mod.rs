//! What stands around a recurrent network: operations appended to the same [`Program`](crate::ops::Program).
//!
//! A layer pushes its forward to the forward section and its backward to the backward section. Losses are
//! [operations](crate::ops) themselves: [`PointwiseLoss`](crate::ops::PointwiseLoss),
//! [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy).

mod arithmetic;
mod dropout;
mod embedding;
mod layer;
mod layer_norm;
mod linear;
mod losses;
mod pooling;
mod recurrent;
mod source;

pub use dropout::Dropout;
pub use embedding::Embedding;
pub(crate) use layer::Collected;
pub use layer::{
    BackwardPlaces, BatchShape, Carried, ForwardPlaces, Gradient, GradientPlace, InputPlace, Layer,
    NodeShape, OutputUse, ParameterPlace, ParameterSpec, PushedLayer, ReferenceInputs, Rows,
    TimeAxis, expect_inputs,
};
pub use layer_norm::LayerNorm;
pub use linear::{Linear, linear_parameters};
pub use losses::CrossEntropyOptions;
pub use pooling::{LastStates, Pooling};
pub use recurrent::{RecurrentOptions, Start};

// The layers that a graph is written with.
pub(crate) use arithmetic::{Combine, Concatenate, Map, Slice};
pub(crate) use dropout::DropoutLayer;
pub(crate) use layer_norm::LayerNormLayer;
pub(crate) use linear::LinearLayer;
pub(crate) use losses::{CrossEntropyLayer, PointwiseLossLayer};
pub(crate) use pooling::PoolingLayer;
pub(crate) use recurrent::{C_N, H_N, LAST, Recurrent, Y};
pub(crate) use source::{Input, Stop};
