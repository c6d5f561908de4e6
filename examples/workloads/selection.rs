//! The part of the command line that says which workloads run, where, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wgpu_rnn::Precision;
use wgpu_rnn::cpu::Instructions;
use wgpu_rnn::rnn::GradientMode;

use crate::definition::{Cell, Workload};

/// Which workloads, where, and how they run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    /// Where to run
    #[arg(long, value_enum, default_value_t = DeviceChoice::All)]
    pub(crate) device: DeviceChoice,
    /// Workloads to run, separated by commas, such as W1,W5
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Threads of the CPU device; without it all cores
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Instruction set of the CPU device: widest, avx512, avx2, neon, simd128 or scalar
    #[arg(long, default_value = "widest")]
    pub(crate) instructions: Instructions,
    /// Seconds that each timed loop may take
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Save states alone and recompute the gates in the backward
    #[arg(long)]
    pub(crate) recompute: bool,
    /// GPU: how weights and activations are stored
    #[arg(long, value_enum, default_value_t = StorageChoice::F32)]
    pub(crate) storage: StorageChoice,
    /// GPU: sequences of a workgroup's tile in the recurrent kernels, 1, 4, 8 or 16
    #[arg(long)]
    pub(crate) tile: Option<usize>,
    /// GPU: how recurrent layers walk their timesteps
    #[arg(long, value_enum, default_value_t = StrategyChoice::Auto)]
    pub(crate) strategy: StrategyChoice,
    /// Steps of a chunk with which a stack goes by its wavefront, 0 for layer after layer; without it as the device suggests
    #[arg(long)]
    pub(crate) wavefront: Option<usize>,
    /// GPU: measure tiles and strategies first; the choices are shown with RUST_LOG=info
    #[arg(long)]
    pub(crate) tune: bool,
    /// GPU: where choices and compiled pipelines are kept from one run to the next
    #[arg(long)]
    pub(crate) cache: Option<PathBuf>,
    /// GPU: shaders keep wgpu's run-time checks
    #[arg(long)]
    pub(crate) checked: bool,
    /// Where plots and traces go
    #[arg(long, default_value = "out")]
    pub(crate) out: PathBuf,
    /// A workload of your own instead of the standard ones: timesteps of each sequence
    #[arg(long)]
    pub(crate) time: Option<usize>,
    /// Its sequences
    #[arg(long, default_value_t = 64)]
    pub(crate) batch: usize,
    /// Its inputs
    #[arg(long, default_value_t = 128)]
    pub(crate) input: usize,
    /// Its hidden units
    #[arg(long, default_value_t = 128)]
    pub(crate) hidden: usize,
    /// Its layers
    #[arg(long, default_value_t = 1)]
    pub(crate) layers: usize,
    /// Its cell
    #[arg(long, value_enum, default_value_t = Cell::Lstm)]
    pub(crate) cell: Cell,
    /// Both directions
    #[arg(long)]
    pub(crate) both_directions: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// Every adapter, and the CPU
    All,
    /// The adapter that wgpu chooses (`WGPU_BACKEND` and `WGPU_ADAPTER_NAME` are honoured)
    Gpu,
    /// The CPU
    Cpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyChoice {
    /// By size
    Auto,
    /// All steps of a tile in one dispatch
    Persistent,
    /// A dispatch a step
    Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageChoice {
    /// Single precision
    F32,
    /// Half precision, for adapters with SHADER_F16
    F16,
}

impl Selection {
    pub(crate) fn storage(&self) -> Precision {
        match self.storage {
            StorageChoice::F32 => Precision::F32,
            StorageChoice::F16 => Precision::F16,
        }
    }

    /// What to ask of an adapter.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu(&self) -> wgpu_rnn::gpu::GpuOptions {
        use wgpu_rnn::gpu::{GpuOptions, Strategy, Tuning};
        let mut options = GpuOptions::new()
            .tuning(match self.tune {
                true => Tuning::OnFirstUse,
                false => Tuning::Table,
            })
            .checked(self.checked)
            .strategy(match self.strategy {
                StrategyChoice::Auto => Strategy::Auto,
                StrategyChoice::Persistent => Strategy::Persistent,
                StrategyChoice::Step => Strategy::Step,
            });
        if let Some(directory) = &self.cache {
            options = options.cache_directory(directory);
        }
        match self.tile {
            Some(tile) => options.tile(tile),
            None => options,
        }
    }

    /// The workloads that are asked for.
    pub(crate) fn workloads(&self) -> Result<Vec<Workload>, String> {
        if let Some(time) = self.time {
            return Ok(vec![Workload {
                name: "custom".to_owned(),
                title: "sizes as given",
                cell: self.cell,
                layers: self.layers,
                both_directions: self.both_directions,
                input: self.input,
                hidden: self.hidden,
                lengths: vec![time; self.batch],
                streams: false,
                forward: true,
                training: true,
            }]);
        }
        let mut all = Workload::all();
        for name in &self.only {
            if !all.iter().any(|workload| &workload.name == name) {
                let names: Vec<&str> = all.iter().map(|w| w.name.as_str()).collect();
                return Err(format!(
                    "no workload {name}; there are {}",
                    names.join(", ")
                ));
            }
        }
        all.retain(|workload| self.only.is_empty() || self.only.contains(&workload.name));
        Ok(all)
    }

    pub(crate) fn gradient_mode(&self) -> GradientMode {
        match self.recompute {
            true => GradientMode::Recompute,
            false => GradientMode::Save,
        }
    }
}
