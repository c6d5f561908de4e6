//! Proto.
mod event; mod generator; mod rule; mod baseline; mod proto;
fn main() { proto::run(); }
