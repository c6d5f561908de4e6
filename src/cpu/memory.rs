//! The buffers of a plan. A buffer that is in use elsewhere is an error, never a wait: nothing here can deadlock.

use std::array;
use std::ops::{Deref, Range};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cpu::aligned::AlignedFloats;
use crate::cpu::memory_pool::MemoryPool;
use crate::device;
use crate::device::DeviceBuffer;
use crate::error::{Error, Result};
use crate::ops::{BufferId, BufferSpec, Program, Region};

/// A buffer's elements.
pub(super) type Elements = RwLock<AlignedFloats>;

/// The same, shared between plans and the device.
pub(super) type Shared = Arc<Elements>;

const IN_USE: Error =
    Error::State("a buffer of the CPU device is in use by another plan or by an unfinished call");

/// Borrows for reading without waiting.
pub(super) fn read(shared: &Elements) -> Result<RwLockReadGuard<'_, AlignedFloats>> {
    shared.try_read().map_err(|_| IN_USE)
}

/// Borrows for writing without waiting.
pub(super) fn write(shared: &Elements) -> Result<RwLockWriteGuard<'_, AlignedFloats>> {
    shared.try_write().map_err(|_| IN_USE)
}

/// For each buffer of a program the first that shares its elements: itself, unless the caller gave one buffer for several.
pub(super) fn aliases(
    program: &Program,
    external: &[(BufferId, DeviceBuffer)],
) -> Result<Vec<usize>> {
    let given = device::bind(program, external)?;
    let shared: Vec<Option<Shared>> = (program.buffers().iter().zip(given))
        .map(|(spec, given)| given.map(|buffer| buffer.storage(&spec.label)).transpose())
        .collect::<Result<_>>()?;
    let first = |(index, own): (usize, &Option<Shared>)| {
        let same = |other: &Option<Shared>| match (own, other) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        shared[..index].iter().position(same).unwrap_or(index)
    };
    Ok(shared.iter().enumerate().map(first).collect())
}

/// A buffer borrowed for reading, from an operation's region on.
#[derive(Debug)]
pub(super) struct Part<'a> {
    values: RwLockReadGuard<'a, AlignedFloats>,
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
    own: usize,
    stale: Vec<usize>,
}

impl Memory {
    /// Allocates the program's buffers, which may be [stale](Self::stale), and binds the external ones.
    pub(super) fn new(
        pool: &Arc<MemoryPool>,
        program: &Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Self> {
        let mut stale = vec![0; program.buffers().len()];
        let bind = |((spec, given), stale): ((&BufferSpec, Option<&DeviceBuffer>), &mut usize)| {
            if let Some(buffer) = given {
                return buffer.storage(&spec.label);
            }
            let floats = AlignedFloats::from_pool(pool, &spec.label, spec.len.max(1))?;
            *stale = floats.stale();
            Ok(Arc::new(RwLock::new(floats)))
        };
        let given = device::bind(program, external)?;
        let own = (program.buffers().iter().zip(&given))
            .filter(|(_, given)| given.is_none())
            .map(|(spec, _)| spec.len.max(1))
            .sum();
        let buffers = { program.buffers().iter().zip(given) }
            .zip(&mut stale)
            .map(bind)
            .collect::<Result<_>>()?;
        Ok(Self {
            buffers,
            own,
            stale,
        })
    }

    /// For each buffer how many elements at the front may be anything when it is new.
    pub(super) fn stale(&self) -> &[usize] {
        &self.stale
    }

    /// Elements of the buffers that are not the caller's.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    /// A whole buffer, to read.
    pub(super) fn read(&self, buffer: BufferId) -> Result<RwLockReadGuard<'_, AlignedFloats>> {
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
    pub(super) fn write(&self, buffer: BufferId) -> Result<RwLockWriteGuard<'_, AlignedFloats>> {
        write(&self.buffers[buffer.0])
    }

    /// Lends the given disjoint parts of any buffers to `work`, to be written.
    pub(super) fn write_parts<const N: usize, R>(
        &self,
        extents: [Extent; N],
        work: impl FnOnce([&mut [f32]; N]) -> R,
    ) -> Result<R> {
        let buffer_of = |index: usize| extents[index].region.buffer;
        let mut guards: [Option<RwLockWriteGuard<'_, AlignedFloats>>; N] = array::from_fn(|_| None);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Role;

    #[test]
    fn parts_of_buffers_are_lent_once() -> Result<()> {
        let mut program = Program::new();
        let a = program.buffer("a", 6, Role::Workspace);
        let b = program.buffer("b", 2, Role::Workspace);
        let memory = Memory::new(&Arc::default(), &program, &[])?;
        let part = |buffer, offset, len| Extent::new(Region { buffer, offset }, len);
        // Two parts of one buffer in any order, an empty one between them, and another buffer's.
        let parts = [part(a, 4, 2), part(a, 9, 0), part(b, 0, 2), part(a, 0, 3)];
        memory.write_parts(parts, |parts| {
            assert_eq!(parts.each_ref().map(|part| part.len()), [2, 0, 2, 3]);
            for (index, part) in parts.into_iter().enumerate() {
                part.fill(1.0 + index as f32);
            }
        })?;
        assert_eq!(**memory.read(a)?, [4.0, 4.0, 4.0, 0.0, 1.0, 1.0]);
        assert_eq!(**memory.read(b)?, [3.0, 3.0]);
        let overlap = memory.write_parts([part(a, 0, 3), part(a, 2, 2)], |_| ());
        assert!(matches!(overlap, Err(Error::State(_))));
        Ok(())
    }

    #[test]
    fn a_buffer_in_use_is_an_error() -> Result<()> {
        let mut program = Program::new();
        let a = program.buffer("a", 1, Role::Workspace);
        let memory = Memory::new(&Arc::default(), &program, &[])?;
        let reading = memory.read(a)?;
        assert!(memory.part(a.into()).is_ok(), "two may read");
        assert_eq!(memory.write(a).map(|_| ()), Err(IN_USE));
        drop(reading);
        let writing = memory.write(a)?;
        assert_eq!(memory.read(a).map(|_| ()), Err(IN_USE));
        drop(writing);
        assert!(memory.read(a).is_ok());
        Ok(())
    }
}
