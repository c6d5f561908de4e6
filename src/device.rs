//! What a device is: it holds buffers, is handed a [`Program`] once and runs its sections.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use crate::error::{Error, Result};
use crate::ops::{BufferId, Precision, Program, Role, Section};

/// A buffer of `f32` on some device, shared between plans: parameters, gradients, optimizer state, a caller's input.
/// Cloning it clones the handle.
#[derive(Debug, Clone)]
pub struct DeviceBuffer {
    pub(crate) storage: Storage,
    len: usize,
}

/// Where a buffer's elements are.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    Cpu(Arc<RwLock<crate::cpu::aligned::AlignedFloats>>),
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::BufferSlice),
}

impl DeviceBuffer {
    pub(crate) fn new(storage: Storage, len: usize) -> Self {
        Self { storage, len }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Checks that `range` lies within the buffer and has `values` elements.
    pub(crate) fn check(&self, range: &Range<usize>, values: usize) -> Result<()> {
        if range.start <= range.end && range.end <= self.len && range.len() == values {
            Ok(())
        } else {
            Err(Error::shape(
                "range of a device buffer",
                format!("{values} elements within 0..{}", self.len),
                format!("{range:?}"),
            ))
        }
    }
}

/// A device that runs programs. [`CpuDevice`](crate::cpu::CpuDevice) and [`GpuDevice`](crate::gpu::GpuDevice) behave alike to
/// rounding; on one device results are bit for bit the same from run to run.
pub trait Device: Debug + Send + Sync {
    /// What it is, for people: the adapter's name and backend, or the CPU with its threads.
    fn name(&self) -> String;

    /// How much of its results an operation should leave for the next at a time, so that this finds them in a cache; `None`
    /// where more operations cost more than that saves.
    fn near_bytes(&self) -> Option<usize> {
        None
    }

    /// Steps of a chunk of time with which a stack goes by its wavefront, where few sequences run: see
    /// [`NetworkOptions::wavefront`](crate::rnn::NetworkOptions::wavefront). `None` where that gains nothing.
    fn wave_steps(&self) -> Option<usize> {
        None
    }

    /// A new buffer of zeros.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::OutOfMemory`] if the device cannot hold it.
    fn buffer(&self, label: &str, len: usize) -> Result<DeviceBuffer>;

    /// Replaces the elements of `buffer` from `offset` on.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fit, [`Error::ForeignBuffer`] if it is another device's.
    fn write(&self, buffer: &DeviceBuffer, offset: usize, values: &[f32]) -> Result<()>;

    /// Reads elements, waiting for all work that was submitted before.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Error::DeviceLost`].
    fn read(&self, buffer: &DeviceBuffer, range: Range<usize>) -> Result<Vec<f32>>;

    /// Prepares a program: allocates its buffers (zeros), binds `external` ones, compiles what it needs. Each buffer of
    /// [`Role::External`] has to be given; inputs and outputs may be, so that a program reads
    /// what the caller computed, and writes where the caller goes on, without a copy.
    ///
    /// # Errors
    /// [`Error::Limit`] before anything is submitted if the program exceeds the device; [`Error::Option`] if it stores a buffer
    /// in a [`Precision`] that the device or an operation's kernel does not have; [`Error::Shape`] if an external
    /// buffer is missing, of another length, or given for a buffer that the program keeps to itself;
    /// [`Error::ForeignBuffer`] if it is another device's.
    fn load(
        &self,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Box<dyn Plan>>;

    /// Bytes of memory of dropped plans that the device keeps for those that are loaded next: together with what plans
    /// hold, at most the most that they held at once since it was [released](Self::release_pooled). Buffers of their own, which
    /// [`buffer`](Self::buffer) makes, are not kept. A GPU device keeps none: `wgpu`'s allocator has blocks of its own.
    fn pooled_bytes(&self) -> u64 {
        0
    }

    /// Gives that memory back to the system. Plans that are loaded keep theirs.
    fn release_pooled(&self) {}
}

/// A program loaded onto a device. Running it allocates nothing.
pub trait Plan: Debug + Send {
    /// The program.
    fn program(&self) -> &Program;

    /// Sets the seed of dropout and zoneout for the runs that follow; 0 at first.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    fn set_seed(&mut self, seed: u64) -> Result<()>;

    /// Replaces the whole content of a buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` has another length.
    fn write(&mut self, buffer: BufferId, values: &[f32]) -> Result<()>;

    /// Runs a section. On a GPU it is submitted, not awaited.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    fn run(&mut self, section: Section) -> Result<()>;

    /// Runs sections one after the other; on a GPU in one submission, as far as its budget goes.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    fn run_all(&mut self, sections: &[Section]) -> Result<()> {
        sections.iter().try_for_each(|section| self.run(*section))
    }

    /// Reads the whole content of a buffer, waiting for what was submitted before.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` has another length; [`Error::DeviceLost`].
    fn read(&mut self, buffer: BufferId, values: &mut [f32]) -> Result<()>;

    /// Runs sections as [`run_all`](Self::run_all) does and reads the whole content of buffers afterwards: on a GPU the copies are in
    /// the same submission, and there is one wait for all.
    ///
    /// # Errors
    /// As [`run_all`](Self::run_all) and [`read`](Self::read); what a length is wrong of is not run.
    fn run_and_read(
        &mut self,
        sections: &[Section],
        reads: &mut [(BufferId, &mut [f32])],
    ) -> Result<()> {
        for (buffer, values) in reads.iter() {
            self.program().check_len(*buffer, values.len())?;
        }
        self.run_all(sections)?;
        (reads.iter_mut()).try_for_each(|(buffer, values)| self.read(*buffer, values))
    }

    /// How many pieces of work a section is handed to the device in: dispatches on a GPU, operations on the CPU.
    fn dispatches(&self, section: Section) -> usize;

    /// Runs a section and measures each piece of its work. On a GPU each dispatch gets a pass of its own, so that the whole
    /// takes longer than [`run`](Self::run) does; the lengths of the spans are what counts.
    ///
    /// # Errors
    /// [`Error::Device`] on a GPU device without the feature `TIMESTAMP_QUERY`; else as [`run`](Self::run).
    fn profile(&mut self, section: Section) -> Result<Vec<Span>>;

    /// Bytes that the plan holds on the device, the caller's buffers left out.
    fn bytes(&self) -> u64;
}

/// A piece of a section's work on the device's clock: see [`Plan::profile`].
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The kernel, or on the CPU the operation.
    pub label: String,
    /// Workgroups in each dimension; 1 on the CPU.
    pub workgroups: [u32; 3],
    /// Seconds from the section's start to this piece's.
    pub start: f64,
    /// Seconds from the section's start to this piece's end.
    pub end: f64,
}

impl Span {
    /// Seconds from start to end.
    pub fn duration(&self) -> f64 {
        self.end - self.start
    }
}

/// Matches the buffers that a caller gives with a program's: for each of the program's the given one, if there is one.
pub(crate) fn bind<'a>(
    program: &Program,
    given: &'a [(BufferId, DeviceBuffer)],
) -> Result<Vec<Option<&'a DeviceBuffer>>> {
    let mut bound = vec![None; program.buffers().len()];
    for (id, buffer) in given {
        let Some(spec) = program.buffers().get(id.0) else {
            let expected = format!("one of the program's {} buffers", bound.len());
            let got = format!("number {}", id.0);
            return Err(Error::shape("external buffer", expected, got));
        };
        if !spec.role.is_bindable() {
            return Err(Error::shape(
                format!("external buffer for `{}`", spec.label),
                "a buffer of the role External, Input or Output",
                format!("the role {:?}", spec.role),
            ));
        }
        if buffer.len() != spec.len {
            return Err(Error::shape(spec.label.clone(), spec.len, buffer.len()));
        }
        if spec.precision != Precision::F32 {
            return Err(Error::shape(
                format!("external buffer for `{}`", spec.label),
                "a buffer of the program stored in F32",
                format!("one stored in {:?}", spec.precision),
            ));
        }
        if bound[id.0].replace(buffer).is_some() {
            return Err(Error::shape(
                spec.label.clone(),
                "one external buffer",
                "two",
            ));
        }
    }
    for (spec, bound) in program.buffers().iter().zip(&bound) {
        if spec.role == Role::External && bound.is_none() {
            return Err(Error::shape(
                spec.label.clone(),
                "an external buffer",
                "none",
            ));
        }
    }
    Ok(bound)
}
