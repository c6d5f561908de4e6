//! Models written as graphs: gradients of every layer against finite differences, the same operations as by hand, sharing,
//! freezing, fan-out, refusals, prediction.

mod gradients;
mod handwritten;
mod parameters;
mod predictor;
mod refusals;
mod support;
