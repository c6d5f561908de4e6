//! Floats that begin where a cache line does: a vector of AVX-512 that straddles two lines costs two loads.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::cpu::memory_pool::{MemoryPool, Pooled};
use crate::error::{Error, Result};

/// Bytes of a cache line on all that matter, and of the widest vector.
const LINE: usize = 64;

/// As many floats as a line has.
const LINE_FLOATS: usize = LINE / size_of::<f32>();

/// A fixed number of floats, the first at the start of a cache line.
#[derive(Debug, Default)]
pub(crate) struct AlignedFloats {
    /// Never grows, so that the floats stay where they are.
    memory: Pooled,
    start: usize,
    len: usize,
}

impl AlignedFloats {
    /// Zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] names `label`.
    pub(crate) fn zeros(label: &str, len: usize) -> Result<Self> {
        Self::from_pool(&Arc::default(), label, len)
    }

    /// Memory of a pool: zeros but for the first [`stale`](Self::stale) floats.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] names `label`.
    pub(crate) fn from_pool(pool: &Arc<MemoryPool>, label: &str, len: usize) -> Result<Self> {
        let refused = |reason| Error::OutOfMemory(format!("`{label}`, {len} elements: {reason}"));
        let memory = pool.take(len.saturating_add(LINE_FLOATS - 1));
        Ok(Self::new(memory.map_err(refused)?, len))
    }

    fn new(memory: Pooled, len: usize) -> Self {
        // A platform that cannot tell where a line starts gets what it allocated.
        let start = memory.values.as_ptr().align_offset(LINE);
        Self {
            start: start.min(LINE_FLOATS - 1),
            memory,
            len,
        }
    }

    /// How many floats at the front may be anything after [`from_pool`](Self::from_pool).
    pub(crate) fn stale(&self) -> usize {
        self.memory.stale.saturating_sub(self.start).min(self.len)
    }
}

impl Deref for AlignedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory.values[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedFloats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory.values[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_places_are_as_asked() -> Result<()> {
        for len in [0, 1, 15, 16, 17, 100_000] {
            let mut floats = AlignedFloats::zeros("floats", len)?;
            assert_eq!(floats.len(), len);
            assert!(floats.iter().all(|value| *value == 0.0));
            floats.fill(1.0);
            assert_eq!(floats.as_ptr().align_offset(LINE), 0);
        }
        assert!(AlignedFloats::zeros("floats", usize::MAX).is_err());
        Ok(())
    }
}
