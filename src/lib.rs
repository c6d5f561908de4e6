//! Fused recurrent networks, forward and backward, on every GPU that `wgpu` reaches and on the CPU.

pub mod batch;
pub mod cell;
pub mod config;
pub mod cpu;
pub mod device;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod nn;
pub mod ops;
pub mod packed;
pub mod params;
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
pub use device::{Device, DeviceBuffer, Plan};
pub use error::{Error, Result};
pub use ops::Mode;
pub use params::{ParameterEntry, ParameterKind, ParameterLayout, Parameters};
pub use state::{Gradients, Output, OutputGradient, State};
#[cfg(feature = "gpu")]
pub use wgpu;
