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
pub(crate) mod aligned;
mod column_sums;
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
mod shares;
mod simd;
mod softmax_cross_entropy;
mod staged;
mod stale;
mod strided_copies;
mod tile;
mod vector;

use std::ops::Range;
use std::sync::{Arc, RwLock};

use pulp::Arch;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cpu::memory_pool::MemoryPool;
use crate::device::{Device, DeviceBuffer, Plan, Storage};
use crate::error::{Error, Result};
use crate::ops::{BufferId, Program};

pub use options::{CpuOptions, Instructions};
pub use plan::CpuPlan;

/// The CPU as a device: buffers in main memory, operations on all cores.
///
/// ```
/// use wgpu_rnn::Device;
/// let device = wgpu_rnn::cpu::CpuDevice::with_threads(2)?;
/// let buffer = device.buffer("numbers", 4)?;
/// device.write(&buffer, 1, &[1.0, 2.0])?;
/// assert_eq!(device.read(&buffer, 0..4)?, [0.0, 1.0, 2.0, 0.0]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CpuDevice {
    threads: Threads,
    instructions: Instructions,
    arch: Arch,
    pool: Arc<MemoryPool>,
}

/// Where the work is done.
#[derive(Debug, Clone)]
enum Threads {
    /// rayon's global pool.
    Global,
    /// A pool that this device and its plans share.
    Own(Arc<ThreadPool>),
    /// The thread that calls.
    Caller,
}

impl Threads {
    fn new(count: Option<usize>) -> Result<Self> {
        let threads = match count {
            None => return Ok(Self::Global),
            Some(0) => return Err(Error::option("threads", "must be at least 1")),
            // A pool would have a thread to hand the work to and to wait for.
            Some(1) => return Ok(Self::Caller),
            Some(threads) => threads,
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("wgpu-rnn-cpu-{index}"))
            .build()
            .map_err(|error| Error::Device(format!("{threads} threads: {error}")))?;
        Ok(Self::Own(Arc::new(pool)))
    }

    /// Runs `work` on a thread of the pool, so that what it splits off stays within the pool.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Global => rayon::scope(|_| work()),
            Self::Own(pool) => pool.install(work),
            Self::Caller => parallel::alone(work),
        }
    }

    /// Runs `work`, which is little, on the thread that calls.
    fn run_here<R>(&self, work: impl FnOnce() -> R) -> R {
        match self {
            Self::Global | Self::Own(_) => work(),
            Self::Caller => parallel::alone(work),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Global => rayon::current_num_threads(),
            Self::Own(pool) => pool.current_num_threads(),
            Self::Caller => 1,
        }
    }
}

impl CpuDevice {
    /// The CPU with rayon's global thread pool.
    ///
    /// # Errors
    /// None at present; the signature is that of the other devices.
    pub fn new() -> Result<Self> {
        Self::with_options(&CpuOptions::new())
    }

    /// The CPU with `threads` threads of its own; a single one is that which calls.
    ///
    /// # Errors
    /// [`Error::Option`] for no thread, [`Error::Device`] if the system starts none.
    pub fn with_threads(threads: usize) -> Result<Self> {
        Self::with_options(&CpuOptions::new().threads(threads))
    }

    /// The CPU as the options say.
    ///
    /// # Errors
    /// [`Error::Option`] for no thread, or for instructions that this machine does not have; [`Error::Device`] if the system
    /// starts no threads.
    pub fn with_options(options: &CpuOptions) -> Result<Self> {
        let device = Self {
            threads: Threads::new(options.threads)?,
            instructions: options.instructions,
            arch: options.instructions.require()?,
            pool: Arc::default(),
        };
        log::info!("CPU device: {}, {:?}", device.name(), device.arch);
        Ok(device)
    }

    /// Number of threads that work on an operation.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }
}

/// Two cores' second-level caches of a common size. It decides in which order sums are added up, so it may not depend on the
/// machine.
const NEAR_BYTES: usize = 2 << 20;

impl Device for CpuDevice {
    fn near_bytes(&self) -> Option<usize> {
        Some(NEAR_BYTES)
    }

    fn name(&self) -> String {
        let threads = match self.threads() {
            1 => "CPU, 1 thread".to_owned(),
            threads => format!("CPU, {threads} threads"),
        };
        match self.instructions {
            Instructions::Widest => threads,
            chosen => format!("{threads}, {chosen}"),
        }
    }

    fn buffer(&self, label: &str, len: usize) -> Result<DeviceBuffer> {
        let zeros = aligned::AlignedFloats::zeros(label, len)?;
        let storage = Storage::Cpu(Arc::new(RwLock::new(zeros)));
        Ok(DeviceBuffer::new(storage, len))
    }

    fn write(&self, buffer: &DeviceBuffer, offset: usize, values: &[f32]) -> Result<()> {
        let range = offset..offset.saturating_add(values.len());
        buffer.check(&range, values.len())?;
        memory::write(memory::shared(buffer, "written")?)?[range].copy_from_slice(values);
        Ok(())
    }

    fn read(&self, buffer: &DeviceBuffer, range: Range<usize>) -> Result<Vec<f32>> {
        buffer.check(&range, range.len())?;
        Ok(memory::read(memory::shared(buffer, "read")?)?[range].to_vec())
    }

    fn load(
        &self,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Box<dyn Plan>> {
        let plan = CpuPlan::new(self, program, external)?;
        Ok(Box::new(plan))
    }

    fn pooled_bytes(&self) -> u64 {
        (size_of::<f32>() * self.pool.free_len()) as u64
    }

    fn release_pooled(&self) {
        self.pool.release();
    }
}
