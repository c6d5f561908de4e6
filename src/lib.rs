//! Fused recurrent networks (Elman RNN, LSTM, GRU), forward **and** backward, on every GPU that `wgpu` reaches and on
//! the CPU.
//!
//! The matrix products of all gates and the cell's arithmetic run in one kernel over many sequences in parallel; ragged
//! batches are packed, so padding costs nothing and reaches no result. Everything is proven against a plain reference
//! whose derivatives nobody typed, and against PyTorch's, ONNX Runtime's, haste's and NNAPI's values.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use wgpu_rnn::cpu::CpuDevice;
//! use wgpu_rnn::rnn::Rnn;
//! use wgpu_rnn::{Device, Direction, Mode, OutputGradient, PackedBatch, Parameters, RnnConfig};
//!
//! // On a GPU: Arc::new(GpuDevice::request_blocking(&GpuOptions::default())?)
//! let device: Arc<dyn Device> = Arc::new(CpuDevice::new()?);
//!
//! let config = RnnConfig::lstm(3, 16).layers(2).direction(Direction::BidirectionalConcat).build()?;
//! let weights = Parameters::uniform(&config, 42)?;
//! let mut rnn = Rnn::new(device, config, &weights)?;
//!
//! // Three sequences of 3 features: 4 steps, none, 2 steps.
//! let batch = PackedBatch::from_sequences(3, &[vec![0.1; 12], vec![], vec![0.5; 6]])?;
//! let output = rnn.forward(&batch, None, Mode::Training)?;
//! assert_eq!(output.y.len(), 6 * 32);
//!
//! let loss = OutputGradient { y: Some(vec![1.0; output.y.len()]), ..Default::default() };
//! let gradients = rnn.backward(&loss)?;
//! assert_eq!(gradients.parameters.len(), weights.data().len());
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```
//!
//! # The map
//!
//! The data's way, in the order of the modules:
//!
//! | module | what |
//! |---|---|
//! | [`config`] | what network: cell, variants, sizes, layers, direction; checked when built |
//! | [`batch`] | sequences to packed rows and back |
//! | [`params`] | weights and gradients: PyTorch's names and layout in one flat buffer |
//! | [`initial`] | how weights begin |
//! | [`packed`] | the same weights as the kernels want them |
//! | [`ops`] | the operations of both devices, as data: a [`Program`](ops::Program) |
//! | [`rnn`] | the story of a network over the operations, forward and backward; [`Rnn`] runs it |
//! | [`nn`], [`train`] | what stands around it: embeddings, pooling, dropout, a linear head; optimizers, schedules, long sequences in chunks |
//! | [`data`] | what goes in: batches by length, samplers, temporal splits, scalers, vocabularies, drift |
//! | [`metrics`] | what a model is worth: classification, tagging, forecasting, latency |
//! | [`checkpoint`] | one file with everything a trained model needs, written atomically, and its model card |
//! | [`device`] | what a device is, and what it takes to write one; [`cpu`] and `gpu` are two |
//! | [`cell`] | the cells' arithmetic, generic over numbers and dual numbers |
//! | [`reference`](mod@reference) | the oracle: plain loops, backward from dual numbers |
//!
//! # Layouts
//!
//! Packed rows `[tokens, features]` are time-major, sequences sorted by length, longest first: see [`Packing`]. States at
//! the network's edge are `[layers * directions, batch, units]` in the caller's order, index `layer * directions +
//! direction`. Gate order is PyTorch's: LSTM `i f g o`, GRU `r z n`; weights are `[gates * hidden, inputs]`.
//!
//! # Features
//!
//! - `gpu` (default): the `wgpu` device. Without it the crate has no graphics dependency.
//! - `report` (default): training for people to watch: [`train`]'s progress bar and learning curves, and `plot`.

pub mod batch;
pub mod cell;
pub mod checkpoint;
pub mod config;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
mod fingerprint;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod initial;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod packed;
pub mod params;
#[cfg(feature = "report")]
pub mod plot;
pub mod random;
pub mod reference;
pub mod rnn;
pub mod state;
pub mod train;

pub use batch::{Layout, PackedBatch, Packing};
pub use config::{
    Activation, Activations, Bias, Cell, CellSpec, Clip, Coupled, Direction, Dropout, GruReset,
    GruUpdate, LayerNorm, LayerNormKind, Peephole, Projection, RnnConfig, RnnConfigBuilder,
    Zoneout,
};
pub use device::{Device, DeviceBuffer, Plan, Span};
pub use error::{Error, Result};
pub use initial::{Initial, WeightInitial};
pub use ops::{Mode, Precision};
pub use params::{ParameterEntry, ParameterKind, ParameterLayout, Parameters};
pub use rnn::{GradientMode, Network, NetworkOptions, Rnn};
pub use state::{Gradients, Output, OutputGradient, State};
#[cfg(feature = "gpu")]
pub use wgpu;
