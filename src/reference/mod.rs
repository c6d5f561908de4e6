//! The oracle: plain loops.
