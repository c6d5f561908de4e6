//! The cell algebra in Rust.
