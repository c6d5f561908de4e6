//! The CPU as a device.

use std::ops::Range;
use std::sync::Arc;

use crate::cpu::aligned::AlignedFloats;
use crate::cpu::machine::{Machine, Threads};
use crate::cpu::memory::{self, Elements};
use crate::cpu::options::{CpuOptions, Instructions};
use crate::cpu::plan::CpuPlan;
use crate::device::{Device, DeviceBuffer, Plan};
use crate::error::Result;
use crate::ops::{BufferId, Program};

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
    machine: Machine,
    instructions: Instructions,
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
    /// [`Error::Option`](crate::Error::Option) for no thread, [`Error::Device`](crate::Error::Device) if the system starts none.
    pub fn with_threads(threads: usize) -> Result<Self> {
        Self::with_options(&CpuOptions::new().threads(threads))
    }

    /// The CPU as the options say.
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) for no thread, or for instructions that this machine does not have; [`Error::Device`](crate::Error::Device) if the system
    /// starts no threads.
    pub fn with_options(options: &CpuOptions) -> Result<Self> {
        let device = Self {
            machine: Machine {
                threads: Threads::new(options.threads)?,
                arch: options.instructions.require()?,
                pool: Arc::default(),
            },
            instructions: options.instructions,
        };
        log::info!("CPU device: {}, {:?}", device.name(), device.machine.arch);
        Ok(device)
    }

    /// Number of threads that work on an operation.
    pub fn threads(&self) -> usize {
        self.machine.threads.count()
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
        let zeros = AlignedFloats::zeros(label, len)?;
        Ok(DeviceBuffer::new(Arc::new(Elements::new(zeros)), len))
    }

    fn write(&self, buffer: &DeviceBuffer, offset: usize, values: &[f32]) -> Result<()> {
        let range = offset..offset.saturating_add(values.len());
        buffer.check_range(&range, values.len())?;
        let elements = buffer.storage::<Elements>("written")?;
        memory::write(&elements)?[range].copy_from_slice(values);
        Ok(())
    }

    fn read(&self, buffer: &DeviceBuffer, range: Range<usize>) -> Result<Vec<f32>> {
        buffer.check_range(&range, range.len())?;
        let elements = buffer.storage::<Elements>("read")?;
        Ok(memory::read(&elements)?[range].to_vec())
    }

    fn load(
        &self,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Box<dyn Plan>> {
        let plan = CpuPlan::new(&self.machine, program, external)?;
        Ok(Box::new(plan))
    }

    fn pooled_bytes(&self) -> u64 {
        (size_of::<f32>() * self.machine.pool.free_len()) as u64
    }

    fn release_pooled(&self) {
        self.machine.pool.release();
    }
}
