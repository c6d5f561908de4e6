//! The cell algebra in Rust: what one unit computes in one step, and its derivatives.
//!
//! A cell is a short list of *stages*: a matrix times a state vector, then a pointwise function of each unit. Here are
//! the pointwise functions, one file a cell, written forward only and generic over a [`Real`]. The derivatives are not
//! written anywhere: [`jacobian`] and [`pullback`] run the same functions on [`Dual`] numbers.
//!
//! | cell | stages |
//! |---|---|
//! | Elman | [`elman_unit`] |
//! | LSTM | [`lstm_unit`], or its two halves [`lstm_cell`] and [`lstm_output`] with a normalisation of the cell state between |
//! | GRU, reset after | [`gru_after`] |
//! | GRU, reset before | [`gru_reset`], a matrix product over its results, [`gru_before`] |
//!
//! "Pre-activation" is what enters a gate's activation before [`Clip::gates`](crate::Clip::gates): input product,
//! recurrent product and biases, with per-gate normalisation also the norm. All functions clip it themselves. Gates come
//! in the order of the slots ([`CellSpec::slots`](crate::CellSpec::slots)): `i f g o`, `r z n q`.

mod activation;
mod dual;
mod elman;
mod gru;
mod lstm;
mod number;
mod real;

pub(crate) use activation::formula;
pub use dual::{Dual, inputs, jacobian, pull, pullback};
pub use elman::elman_unit;
pub use gru::{gru_after, gru_before, gru_reset};
pub use lstm::{add_peepholes, lstm_cell, lstm_output, lstm_unit};
pub use number::{Number, clip, mix};
pub use real::{Real, Scalar, activate};
