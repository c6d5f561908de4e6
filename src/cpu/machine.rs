//! What the CPU device and its plans share: threads, instruction set, memory.

use std::sync::Arc;

use pulp::Arch;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::parallel::alone;
use crate::error::{Error, Result};

/// What a device is made of. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) threads: Threads,
    /// The instruction set of the kernels.
    pub(super) arch: Arch,
    /// Memory of dropped plans.
    pub(super) pool: Arc<MemoryPool>,
}

/// Where the work is done.
#[derive(Debug, Clone)]
pub(super) enum Threads {
    /// rayon's global pool.
    Global,
    /// A pool that a device and its plans share.
    Own(Arc<ThreadPool>),
    /// The thread that calls.
    Caller,
}

impl Threads {
    pub(super) fn new(count: Option<usize>) -> Result<Self> {
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
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Global => rayon::scope(|_| work()),
            Self::Own(pool) => pool.install(work),
            Self::Caller => alone(work),
        }
    }

    /// Runs `work`, which is little, on the thread that calls.
    pub(super) fn run_here<R>(&self, work: impl FnOnce() -> R) -> R {
        match self {
            Self::Global | Self::Own(_) => work(),
            Self::Caller => alone(work),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Global => rayon::current_num_threads(),
            Self::Own(pool) => pool.current_num_threads(),
            Self::Caller => 1,
        }
    }
}
