//! What a caller can ask of the GPU device.

use std::path::PathBuf;

use super::choice::TILES;

/// Which limits to request from the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitsChoice {
    /// WebGPU's default limits (128 MiB bindings, 8 storage buffers, 16 KiB workgroup memory, 256 invocations), to see
    /// that a network runs everywhere.
    Default,
    /// All that the adapter offers, subgroups included.
    #[default]
    Adapter,
}

/// How a recurrent layer walks its timesteps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Chosen by sizes and limits, and logged.
    #[default]
    Auto,
    /// One workgroup owns a tile of sequences over many timesteps of one dispatch.
    Persistent,
    /// One dispatch a timestep.
    Step,
}

/// Where the choice of tile and strategy of recurrences comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tuning {
    /// From what [`GpuDevice::tune`](super::GpuDevice::tune) or the cache tell, else from a table by kinds of adapters.
    #[default]
    Table,
    /// Measured when a plan is loaded that has a recurrence of which nothing is known: that takes seconds on a slow adapter.
    /// In a browser, where nothing can be waited for, as [`Table`](Self::Table).
    OnFirstUse,
}

/// How to find and use a GPU.
///
/// ```
/// use wgpu_rnn::gpu::{GpuOptions, Strategy};
/// let options = GpuOptions::new().adapter("llvmpipe").strategy(Strategy::Step);
/// # let _ = options;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GpuOptions {
    pub(crate) backends: Option<wgpu::Backends>,
    pub(crate) adapter: Option<String>,
    pub(crate) limits: LimitsChoice,
    pub(crate) strategy: Strategy,
    pub(crate) submit_budget: u64,
    pub(crate) checked: bool,
    pub(crate) subgroups: bool,
    pub(crate) tile: Option<usize>,
    pub(crate) tuning: Tuning,
    pub(crate) cache: Option<PathBuf>,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            backends: None,
            adapter: None,
            limits: LimitsChoice::default(),
            strategy: Strategy::default(),
            submit_budget: Self::DEFAULT_SUBMIT_BUDGET,
            checked: false,
            subgroups: true,
            tile: None,
            tuning: Tuning::default(),
            cache: None,
        }
    }
}

impl GpuOptions {
    /// 4 Gi multiply-adds: well under a second on an integrated GPU that reaches 20 GFLOP/s, while desktop watchdogs
    /// act after two seconds.
    pub const DEFAULT_SUBMIT_BUDGET: u64 = 1 << 32;

    /// Any adapter, its full limits, the strategy chosen by size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Backends to look at. Without it: those that `WGPU_BACKEND` names, else all.
    pub fn backends(mut self, backends: wgpu::Backends) -> Self {
        self.backends = Some(backends);
        self
    }

    /// A part of the adapter's name, in any case. Without it: what `WGPU_ADAPTER_NAME` says, else the fastest kind.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.adapter = Some(name.into());
        self
    }

    /// Which limits to request.
    pub fn limits(mut self, limits: LimitsChoice) -> Self {
        self.limits = limits;
        self
    }

    /// How recurrent layers walk their timesteps.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Multiply-adds after which a run goes on in another submission, so that no submission runs into the operating
    /// system's watchdog. At least 1.
    pub fn submit_budget(mut self, multiply_adds: u64) -> Self {
        self.submit_budget = multiply_adds.max(1);
        self
    }

    /// Whether to use subgroups where the adapter has them and [`LimitsChoice::Adapter`] asks for all of it; `true` at first.
    pub fn subgroups(mut self, subgroups: bool) -> Self {
        self.subgroups = subgroups;
        self
    }

    /// How many sequences a workgroup of the recurrent kernels takes: 1, 4, 8 or 16 (another number is taken as the next
    /// smaller one of these). Without it a table says, by the size of the batch and the kind of adapter.
    pub fn tile(mut self, sequences: usize) -> Self {
        let tiles = TILES.into_iter().rev();
        self.tile = Some({ tiles }.find(|tile| *tile <= sequences).unwrap_or(1));
        self
    }

    /// Whether to measure recurrences when they are first used. What [`strategy`](Self::strategy) and [`tile`](Self::tile) say
    /// counts more than any measurement.
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// A directory where measurements and, where the backend can, the driver's compiled pipelines are kept from one program to
    /// the next, in files that are named after adapter and driver. Without it nothing is written. Only the user should be able to write there:
    /// compiled pipelines are handed to the driver.
    pub fn cache_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// The same in the user's directory for caches, `wgpu-rnn` in it; nowhere if the system has none.
    pub fn user_cache(mut self) -> Self {
        self.cache = dirs::cache_dir().map(|caches| caches.join("wgpu-rnn"));
        self
    }

    /// Whether shaders keep the run-time checks that `wgpu` adds (index clamps and loop bounds); `false` at first, because the
    /// ranges and tables of all operations are checked when a program is loaded, whatever this says, and the kernels' loops
    /// are bounded by those same sizes. For looking into a driver.
    pub fn checked(mut self, checked: bool) -> Self {
        self.checked = checked;
        self
    }
}
