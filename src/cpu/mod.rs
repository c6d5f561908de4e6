//! The fast CPU device: the same operations as the GPU's, on the `gemm` crate and rayon.
//!
//! A plan walks a section's list of [`Operation`]s in order; threads are used inside an operation, never across two. Every
//! sum has a fixed order that depends on the sizes alone, so on one instruction set results are bit for bit the same from
//! run to run and with any number of threads. (But for infinite inputs of a GRU with reset after the product: see `layer_forward`.)
//!
//! | file | what |
//! |---|---|
//! | `aligned` | floats that begin at a cache line |
//! | `memory` | the buffers: who may touch them, and lending parts of one buffer as separate slices |
//! | `memory_pool`, `stale` | memory of dropped plans for the next ones, and which of it has to be cleared |
//! | `huge_pages` | a wish for large pages under large memory |
//! | `device` | the device: makes buffers, loads programs |
//! | `machine` | what it is made of and its plans share: threads, instruction set, memory |
//! | `run` | what an operation is here, and what it works with |
//! | `plan` | a loaded program: checked once, then run |
//! | `access` | what an operation touches, checked when a program is loaded |
//! | `matrix_product` | the `gemm` crate behind bounds checks |
//! | `number` | whole numbers in `f32`: ids and classes |
//! | `options` | what a caller can ask of the device: threads, instruction set |
//! | `parallel` | splitting rows over threads |
//! | `simd`, `panels`, `tile` | vectors, weights in panels, and sequences that a thread takes through all timesteps |
//! | `shares` | what lends threads the rows of their sequences, with all of the unsafe code for it |
//! | `plain` | the recurrence of cells without options, the fastest way |
//! | `staged` | that of any cell, stage by stage |
//! | `vector`, `row_norm`, `row_product` | what the stages and other rows share: vectors as a cell's numbers, means and deviations, products |
//! | `packed_gemm` | matrix products with weights |
//! | `panel_cache` | weights in panels, packed once for each version |
//! | `layer_forward` | input's products and recurrence as one, where many sequences run or a single one does |
//! | `layer_backward` | the recurrent backward and the products over its rows as one, where many sequences run through few units |
//! | `recurrence` | what `recurrent_forward` and `recurrent_backward` share |
//! | the others | one operation each, named as in [`crate::ops`] |
//!
//! [`Operation`]: crate::ops::Operation

mod access;
mod aligned;
mod column_sums;
mod custom;
mod device;
mod dropout_rows;
mod elementwise;
mod embedding_rows;
mod embedding_rows_backward;
mod fill;
mod gather_rows;
mod gemm;
mod gradient_norm;
mod huge_pages;
mod layer_backward;
mod layer_forward;
mod layer_norm_rows;
mod layer_norm_rows_backward;
mod machine;
mod matrix_product;
mod memory;
mod memory_pool;
mod merge_directions;
mod number;
mod optimizer_control;
mod optimizer_step;
mod options;
mod packed_gemm;
mod panel_cache;
mod panels;
mod parallel;
mod plain;
mod plan;
mod pointwise_loss;
mod pool_rows;
mod pool_rows_backward;
mod recurrence;
mod recurrent_backward;
mod recurrent_forward;
mod row_norm;
mod row_product;
mod run;
mod shares;
mod simd;
mod softmax_cross_entropy;
mod staged;
mod stale;
mod strided_copies;
mod tile;
mod vector;

pub use device::CpuDevice;
pub use options::{CpuOptions, Instructions};
pub use plan::CpuPlan;
