//! The layers of models, and what a [`Layer`] is.
//!
//! A layer says which parameters it wants and what it makes of its inputs, and pushes its forward as operations of a
//! [`Program`](crate::ops::Program); what it pushed pushes the backward. A [graph](crate::model::Graph) puts layers together; a
//! program that is written by hand can use [`Linear`], [`Embedding`], [`LayerNorm`], [`Dropout`], [`Pooling`] and
//! [`LastStates`] by themselves.

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
