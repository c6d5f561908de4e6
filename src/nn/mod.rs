//! What stands around a recurrent network: operations appended to the same [`Program`](crate::ops::Program).

mod linear;

pub use linear::{Linear, linear_parameters};
