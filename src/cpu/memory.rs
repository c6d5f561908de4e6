//! The buffers of a plan. A buffer that is in use elsewhere is an error, never a wait: nothing here can deadlock.

use std::array;
use std::ops::{Deref, Range};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::device::{DeviceBuffer, Storage};
use crate::error::{Error, Result};
use crate::ops::{BufferId, Program, Region, Role};

/// A buffer's elements, shared between plans and the device.
pub(super) type Shared = Arc<RwLock<Vec<f32>>>;

const IN_USE: Error =
    Error::State("a buffer of the CPU device is in use by another plan or by an unfinished call");

/// `len` zeros, or [`Error::OutOfMemory`].
pub(super) fn zeros(label: &str, len: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|error| {
        Error::OutOfMemory(format!("buffer `{label}`, {len} elements: {error}"))
    })?;
    values.resize(len, 0.0);
    Ok(values)
}

/// The elements of a device buffer, or [`Error::ForeignBuffer`].
pub(super) fn shared<'a>(buffer: &'a DeviceBuffer, label: &str) -> Result<&'a Shared> {
    match &buffer.storage {
        Storage::Cpu(shared) => Ok(shared),
        #[cfg(feature = "gpu")]
        Storage::Gpu(_) => Err(Error::ForeignBuffer(label.to_owned())),
    }
}

/// Borrows for reading without waiting.
pub(super) fn read(shared: &Shared) -> Result<RwLockReadGuard<'_, Vec<f32>>> {
    shared.try_read().map_err(|_| IN_USE)
}

/// Borrows for writing without waiting.
pub(super) fn write(shared: &Shared) -> Result<RwLockWriteGuard<'_, Vec<f32>>> {
    shared.try_write().map_err(|_| IN_USE)
}

/// A buffer borrowed for reading, from an operation's region on.
#[derive(Debug)]
pub(super) struct Part<'a> {
    values: RwLockReadGuard<'a, Vec<f32>>,
    offset: usize,
}

impl Deref for Part<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // An empty operation's region may start behind the buffer's end.
        self.values.get(self.offset..).unwrap_or_default()
    }
}

/// A region with its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) region: Region,
    pub(super) len: usize,
}

impl Extent {
    pub(super) fn new(region: Region, len: usize) -> Self {
        Self { region, len }
    }

    /// Nothing, in place of an absent region: `of`'s buffer, no element.
    pub(super) fn optional(region: Option<Region>, len: usize, of: Region) -> Self {
        match region {
            Some(region) => Self { region, len },
            None => Self { region: of, len: 0 },
        }
    }

    pub(super) fn range(&self) -> Range<usize> {
        match self.len {
            // An empty range overlaps nothing only if it lies at the start.
            0 => 0..0,
            len => self.region.offset..self.region.offset + len,
        }
    }
}

/// All buffers of a program.
#[derive(Debug)]
pub(super) struct Memory {
    buffers: Vec<Shared>,
}

impl Memory {
    /// Allocates the program's buffers and binds the external ones.
    pub(super) fn new(program: &Program, external: &[(BufferId, DeviceBuffer)]) -> Result<Self> {
        for (id, buffer) in external {
            let Some(spec) = program.buffers().get(id.0) else {
                let count = program.buffers().len();
                let expected = format!("a buffer below {count}");
                return Err(Error::shape("external buffer", expected, id.0));
            };
            if spec.role != Role::External {
                return Err(Error::shape(
                    spec.label,
                    "an external buffer",
                    "another role",
                ));
            }
            if buffer.len() != spec.len {
                return Err(Error::shape(spec.label, spec.len, buffer.len()));
            }
        }
        let bind = |(index, spec): (usize, &crate::ops::BufferSpec)| {
            if spec.role != Role::External {
                let values = zeros(spec.label, spec.len.max(1))?;
                return Ok(Arc::new(RwLock::new(values)));
            }
            let bound = external.iter().find(|(id, _)| id.0 == index);
            match bound {
                Some((_, buffer)) => shared(buffer, spec.label).cloned(),
                None => Err(Error::shape(spec.label, "an external buffer", "none")),
            }
        };
        let buffers = program.buffers().iter().enumerate().map(bind);
        Ok(Self {
            buffers: buffers.collect::<Result<_>>()?,
        })
    }

    /// A whole buffer, to read.
    pub(super) fn read(&self, buffer: BufferId) -> Result<RwLockReadGuard<'_, Vec<f32>>> {
        read(&self.buffers[buffer.0])
    }

    /// Everything from a region's start to its buffer's end, to read.
    pub(super) fn part(&self, region: Region) -> Result<Part<'_>> {
        Ok(Part {
            values: self.read(region.buffer)?,
            offset: region.offset,
        })
    }

    /// Like [`part`](Self::part), if there is a region.
    pub(super) fn optional(&self, region: Option<Region>) -> Result<Option<Part<'_>>> {
        region.map(|region| self.part(region)).transpose()
    }

    /// A whole buffer, to write.
    pub(super) fn write(&self, buffer: BufferId) -> Result<RwLockWriteGuard<'_, Vec<f32>>> {
        write(&self.buffers[buffer.0])
    }

    /// Lends the given disjoint parts of any buffers to `work`, to be written.
    pub(super) fn write_parts<const N: usize, R>(
        &self,
        extents: [Extent; N],
        work: impl FnOnce([&mut [f32]; N]) -> R,
    ) -> Result<R> {
        let buffer_of = |index: usize| extents[index].region.buffer;
        let mut guards: [Option<RwLockWriteGuard<'_, Vec<f32>>>; N] = array::from_fn(|_| None);
        for index in 0..N {
            // One lock a buffer; an empty part needs none.
            let locked = (0..index)
                .any(|other| guards[other].is_some() && buffer_of(other) == buffer_of(index));
            if extents[index].len > 0 && !locked {
                guards[index] = Some(self.write(buffer_of(index))?);
            }
        }
        let mut parts: [&mut [f32]; N] = array::from_fn(|_| <&mut [f32]>::default());
        for (index, guard) in guards.iter_mut().enumerate() {
            let Some(guard) = guard else { continue };
            let mine = |other: usize| buffer_of(other) == buffer_of(index);
            let ranges: [Range<usize>; N] = array::from_fn(|other| match mine(other) {
                true => extents[other].range(),
                false => 0..0,
            });
            let lent = guard
                .get_disjoint_mut(ranges)
                .map_err(|_| Error::State("parts of a buffer that are written overlap"))?;
            for (other, slice) in lent.into_iter().enumerate() {
                if mine(other) {
                    parts[other] = slice;
                }
            }
        }
        Ok(work(parts))
    }
}
