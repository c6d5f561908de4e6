//! What a device is: it holds buffers, is handed a [`Program`] once and runs its sections.
//!
//! [`CpuDevice`](crate::cpu::CpuDevice) and `GpuDevice` are two; others can be written outside of the crate. A [`Device`] keeps
//! what it likes behind a [`DeviceBuffer`]; its [`Plan`] walks the [`section`](Program::section)s of a program, finds the buffers of
//! the operations' regions by [`BufferId::index`] and those of the caller by [`bind`], and refuses when it is loaded what it
//! cannot do. Every operation says in its documentation what it computes.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use wgpu_rnn::{DeviceBuffer, Error};
//!
//! // What `Device::buffer` of some device returns, and how that device gets at the elements again.
//! let buffer = DeviceBuffer::new(Arc::new(Mutex::new(vec![0.0f32; 3])), 3);
//! let elements = buffer.storage::<Mutex<Vec<f32>>>("numbers")?;
//! assert!(elements.lock().is_ok_and(|elements| elements.len() == 3));
//! // Another device, whose storage is of another type, refuses it.
//! assert!(matches!(buffer.storage::<String>("numbers"), Err(Error::ForeignBuffer(_))));
//! # Ok::<(), Error>(())
//! ```

use std::any::Any;
use std::fmt;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ops::{BufferId, Precision, Program, Role, Section};

/// A buffer of `f32` on some device, shared between plans: parameters, gradients, optimizer state, a caller's input.
/// Cloning it clones the handle.
#[derive(Clone)]
pub struct DeviceBuffer {
    /// Where the elements are, as the device that made it has them.
    storage: Arc<dyn Any + Send + Sync>,
    len: usize,
}

impl Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = f.debug_struct("DeviceBuffer");
        buffer.field("len", &self.len).finish_non_exhaustive()
    }
}

impl DeviceBuffer {
    /// A buffer of `len` elements that are in `storage`: for a device, which gets it back by its type.
    pub fn new<T: Any + Send + Sync>(storage: Arc<T>, len: usize) -> Self {
        Self { storage, len }
    }

    /// What it was made of: for the device that made it. Where several devices have storage of one type, it has to say whose
    /// it is.
    ///
    /// # Errors
    /// [`Error::ForeignBuffer`] with `label` if it was made of something else, by another device.
    pub fn storage<T: Any + Send + Sync>(&self, label: &str) -> Result<Arc<T>> {
        let storage = Arc::clone(&self.storage).downcast();
        storage.map_err(|_| Error::ForeignBuffer(label.to_owned()))
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Checks that `range` lies within the buffer and has `values` elements: for [`Device::read`] and [`Device::write`].
    ///
    /// # Errors
    /// [`Error::Shape`] if not.
    pub fn check_range(&self, range: &Range<usize>, values: usize) -> Result<()> {
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

/// Matches the buffers that a caller gives with a program's: for each of the program's the given one, if there is one. For
/// [`Device::load`], which says what is asked of them; whether they are this device's, its [storage](DeviceBuffer::storage) tells.
///
/// # Errors
/// [`Error::Shape`] as for [`Device::load`].
pub fn bind<'a>(
    program: &Program,
    given: &'a [(BufferId, DeviceBuffer)],
) -> Result<Vec<Option<&'a DeviceBuffer>>> {
    let mut bound = vec![None; program.buffers().len()];
    for (id, buffer) in given {
        let Some(spec) = program.buffers().get(id.index()) else {
            let expected = format!("one of the program's {} buffers", bound.len());
            let got = format!("number {}", id.index());
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
        if bound[id.index()].replace(buffer).is_some() {
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
