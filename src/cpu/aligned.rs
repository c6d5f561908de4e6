//! Floats that begin where a cache line does: a vector of AVX-512 that straddles two lines costs two loads.

use std::ops::{Deref, DerefMut};

use crate::error::{Error, Result, zeros};

/// Bytes of a cache line on all that matter, and of the widest vector.
const LINE: usize = 64;

/// As many floats as a line has.
const LINE_FLOATS: usize = LINE / size_of::<f32>();

/// A fixed number of floats, the first at the start of a cache line.
#[derive(Debug, Default)]
pub(crate) struct AlignedFloats {
    /// Never grows, so that the floats stay where they are.
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl AlignedFloats {
    /// Zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] names `label`.
    pub(crate) fn zeros(label: &str, len: usize) -> Result<Self> {
        // The message tells what was asked for, not what aligning it takes.
        let room = zeros(label, len.saturating_add(LINE_FLOATS - 1));
        let refused = |_| Error::OutOfMemory(format!("`{label}`, {len} elements"));
        let values = room.map_err(refused)?;
        // A platform that cannot tell where a line starts gets what it allocated.
        let start = values.as_ptr().align_offset(LINE).min(LINE_FLOATS - 1);
        Ok(Self { values, start, len })
    }
}

impl Deref for AlignedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedFloats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
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
