//! What an operation touches: collected when a program is loaded, so that a program that would leave its buffers is
//! refused before it runs, and so that a buffer is filled with zeros only where something could see that it was not.

use std::ops::Range;

use crate::error::{Error, Result};
pub(super) use crate::ops::elements;
use crate::ops::{BufferId, Matrix, Program, Region, TableOffset};

/// Collects the accesses of one operation and checks each against the program.
#[derive(Debug)]
pub(super) struct Accesses<'a> {
    program: &'a Program,
    /// See [`aliases`](super::memory::aliases).
    aliases: &'a [usize],
    list: Vec<Access>,
    replaced: Vec<Part>,
    left_alone: Vec<Part>,
}

#[derive(Debug)]
struct Access {
    region: Region,
    len: usize,
    write: bool,
}

/// Elements of a buffer.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) buffer: BufferId,
    pub(super) range: Range<usize>,
}

impl Part {
    fn new(region: Region, len: usize) -> Self {
        Self {
            buffer: region.buffer,
            range: region.offset..region.offset + len,
        }
    }
}

/// What an operation touches.
#[derive(Debug)]
pub(super) struct Touched {
    /// Everything.
    pub(super) all: Vec<Part>,
    /// Of this what the operation writes before it could read it, to the last element.
    pub(super) replaced: Vec<Part>,
    /// And what lies between elements that it touches.
    pub(super) left_alone: Vec<Part>,
    /// The buffers that are written.
    pub(super) written: Vec<BufferId>,
}

impl<'a> Accesses<'a> {
    pub(super) fn new(program: &'a Program, aliases: &'a [usize]) -> Self {
        Self {
            program,
            aliases,
            list: Vec::new(),
            replaced: Vec::new(),
            left_alone: Vec::new(),
        }
    }

    /// The operation reads `len` elements.
    pub(super) fn read(&mut self, region: Region, len: usize) -> Result<()> {
        self.push(region, len, false)
    }

    /// The operation writes, or reads and writes, `len` elements.
    pub(super) fn write(&mut self, region: Region, len: usize) -> Result<()> {
        self.push(region, len, true)
    }

    /// The operation writes every one of `len` elements before it could read it.
    pub(super) fn replace(&mut self, region: Region, len: usize) -> Result<()> {
        self.write(region, len)?;
        self.replaced(region, len);
        Ok(())
    }

    /// Of what it [writes](Self::write) the operation replaces these elements.
    pub(super) fn replaced(&mut self, region: Region, len: usize) {
        if len > 0 {
            self.replaced.push(Part::new(region, len));
        }
    }

    /// Of what it [writes](Self::write) the operation does not touch these elements.
    pub(super) fn left_alone(&mut self, region: Region, len: usize) {
        if len > 0 {
            self.left_alone.push(Part::new(region, len));
        }
    }

    /// Like [`read`](Self::read), if there is a region.
    pub(super) fn read_optional(&mut self, region: Option<Region>, len: usize) -> Result<()> {
        region.map_or(Ok(()), |region| self.read(region, len))
    }

    /// Like [`write`](Self::write), if there is a region.
    pub(super) fn write_optional(&mut self, region: Option<Region>, len: usize) -> Result<()> {
        region.map_or(Ok(()), |region| self.write(region, len))
    }

    fn push(&mut self, region: Region, len: usize, write: bool) -> Result<()> {
        let Some(spec) = self.program.buffers().get(region.buffer.0) else {
            let count = self.program.buffers().len();
            return Err(Error::shape(
                "buffer of an operation",
                format!("one of {count} buffers"),
                region.buffer.0,
            ));
        };
        if region.offset.saturating_add(len) > spec.len && len > 0 {
            return Err(Error::shape(
                format!("operation on buffer `{}`", spec.label),
                format!("elements within 0..{}", spec.len),
                format!("{len} elements from {}", region.offset),
            ));
        }
        if len > 0 {
            self.list.push(Access { region, len, write });
        }
        Ok(())
    }

    /// `len` words of the table.
    pub(super) fn words(&self, table: TableOffset, len: usize) -> Result<&'a [u32]> {
        self.program.words_at(table, len)
    }

    /// `len` words of the table, and one more than the largest: how many rows they reach over.
    pub(super) fn rows_reached(&self, table: TableOffset, len: usize) -> Result<usize> {
        let words = self.words(table, len)?;
        Ok(words.iter().max().map_or(0, |&row| row as usize + 1))
    }

    /// No buffer may be both read and written, nor one element written through two regions.
    pub(super) fn finish(self) -> Result<Touched> {
        for (index, access) in self.list.iter().enumerate() {
            for other in &self.list[..index] {
                let ids = [access, other].map(|access| access.region.buffer.0);
                let [a, b] = ids.map(|id| self.aliases[id]);
                if a != b || !(access.write || other.write) {
                    continue;
                }
                if ids[0] != ids[1] {
                    let [a, b] = ids.map(|id| self.program.buffers()[id].label.clone());
                    return Err(Error::shape(
                        format!("external buffers `{a}` and `{b}`"),
                        "two buffers, since one operation uses both and writes",
                        "one",
                    ));
                }
                if !(access.write && other.write) {
                    return Err(Error::State("an operation reads and writes one buffer"));
                }
                let (a, b) = (access.region.offset, other.region.offset);
                if a < b + other.len && b < a + access.len {
                    return Err(Error::State("two regions that an operation writes overlap"));
                }
            }
        }
        let parts = self.list.iter();
        let written = self.list.iter().filter(|access| access.write);
        Ok(Touched {
            all: parts
                .map(|access| Part::new(access.region, access.len))
                .collect(),
            written: written.map(|access| access.region.buffer).collect(),
            replaced: self.replaced,
            left_alone: self.left_alone,
        })
    }
}

/// Elements from the first of `rows` rows to the end of the last, `stride` apart and `width` wide.
pub(super) fn strided(rows: usize, stride: usize, width: usize) -> usize {
    if rows == 0 || width == 0 {
        return 0;
    }
    elements(&[rows - 1, stride]).saturating_add(width)
}

/// Elements from the first to the last of a matrix.
pub(super) fn matrix(matrix: &Matrix, rows: usize, columns: usize) -> usize {
    match columns {
        0 => 0,
        _ => strided(
            rows,
            matrix.strides[0],
            elements(&[columns - 1, matrix.strides[1]]).saturating_add(1),
        ),
    }
}
