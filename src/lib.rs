//! Fused recurrent networks (Elman RNN, LSTM, GRU), forward **and** backward, on every GPU that `wgpu` reaches and on
//! the CPU.
//!
//! The matrix products of all gates and the cell's arithmetic run in one kernel over many sequences in parallel; ragged
//! batches are packed, so padding costs nothing and reaches no result. Everything is proven against a plain reference
//! whose derivatives nobody typed, and against PyTorch's, ONNX Runtime's, haste's and NNAPI's values.
//!
//! # A trained classifier
//!
//! Whether a sequence rises or falls: a model is written once, as a graph; its backward is derived.
//!
//! ```
//! use std::sync::Arc;
//! use wgpu_rnn::cpu::CpuDevice;
//! use wgpu_rnn::model::{Batch, Graph, Predictor};
//! use wgpu_rnn::nn::{CrossEntropyOptions, Rows};
//! use wgpu_rnn::train::{Batches, Interrupt, OptimizerOptions, Trainer, TrainerOptions};
//! use wgpu_rnn::{Device, RnnConfig};
//!
//! let mut graph = Graph::new();
//! let x = graph.sequences("x", 1)?; // ragged sequences of one feature
//! let rnn = graph.rnn("rnn", x, &RnnConfig::gru(1, 8).build()?)?;
//! let logits = graph.linear("head", rnn.last, 2)?;
//! graph.output("logits", logits)?;
//! let class = graph.input("class", Rows::Sequences, 1)?;
//! let loss = graph.cross_entropy(logits, class, CrossEntropyOptions::default())?;
//! graph.minimize(loss, 1.0)?;
//! let model = graph.build()?;
//!
//! // 16 sequences of 3 to 8 steps, every other one falling.
//! let slope = |n: usize| if n % 2 == 0 { 0.2 } else { -0.2 };
//! let line = |n: usize| (0..3 + n % 6).map(|step| slope(n) * step as f32).collect::<Vec<f32>>();
//! let classes = (0..16).map(|n| (n % 2) as f32).collect();
//! let sequences: Vec<Vec<f32>> = (0..16).map(line).collect();
//! let batch = Batch::new().sequences("x", 1, &sequences)?.rows("class", classes);
//!
//! let device: Arc<dyn Device> = Arc::new(CpuDevice::new()?); // or a GpuDevice
//! let data = Batches::new(vec![batch.clone()], vec![batch.clone()])?;
//! let optimizer = OptimizerOptions::adam(0.05);
//! let options = TrainerOptions { optimizer, epochs: 30, patience: 0, ..Default::default() };
//! let mut trainer = Trainer::new(device.clone(), &model, data, options)?;
//! trainer.run(&Interrupt::default(), &mut ())?;
//!
//! let trained = trainer.best_parameters().expect("an epoch was run");
//! let outputs = Predictor::new(device, &model, trained)?.run(&batch)?;
//! let logits = outputs.get("logits")?.chunks(2);
//! assert!(logits.enumerate().all(|(n, logits)| (logits[1] > logits[0]) == (n % 2 == 1)));
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```
//!
//! # A network by itself
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
//! | [`nn`] | layers: what stands around a recurrent network, and what a layer is |
//! | [`model`] | models written as graphs: named parameters, derived backward, prediction, a check of the gradients |
//! | [`train`] | optimizers, schedules, early stopping, the training loop |
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
pub mod model;
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
pub use initial::{Initial, ParameterInitial, WeightInitial};
pub use ops::{Mode, Precision};
pub use params::{ParameterEntry, ParameterKind, ParameterLayout, Parameters};
pub use rnn::{GradientMode, Network, NetworkOptions, Rnn};
pub use state::{Gradients, Output, OutputGradient, State};
#[cfg(feature = "gpu")]
pub use wgpu;

// The README's Rust code is compiled and run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
