//! Programs: buffers, the table of indices, and the operations of each section.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::ops::{BufferId, Operation, TableOffset};

/// What a buffer is for; bytes are reported by role. A caller's buffer can be bound to one that is external, an input or an
/// output when the program is loaded; the two latter are made by the device if none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Bound to a buffer of the caller's when the program is loaded.
    External,
    /// Written by the host before a run.
    Input,
    /// Read by the host after a run.
    Output,
    /// Written by the forward section, read by the backward section.
    Activation,
    /// Of no interest outside one section.
    Workspace,
    /// Weights in the kernels' layout, and their gradients.
    Packed,
}

/// How a buffer's elements are stored. Every sum and every function is computed in `f32` whatever the operands are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits (IEEE 754 binary16), on a GPU device with the feature `SHADER_F16`: see
    /// [`NetworkOptions::storage`](crate::NetworkOptions::storage). A stored number is one of the two neighbours of the
    /// computed one, at most `2^-10` of it away where that is at least `2^-14`, and may be 0 below. Numbers beyond 65,504,
    /// infinite ones too, become 65,504 with their sign; NaN stays NaN.
    F16,
}

impl Precision {
    /// Bytes of `len` elements.
    pub fn bytes(self, len: usize) -> u64 {
        let each = match self {
            Self::F32 => 4,
            Self::F16 => 2,
        };
        (len as u64).saturating_mul(each)
    }
}

/// A buffer's name, size and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferSpec {
    /// For logs, profiles and errors.
    pub label: Cow<'static, str>,
    /// Elements.
    pub len: usize,
    /// What it is for.
    pub role: Role,
    /// How its elements are stored.
    pub precision: Precision,
}

/// The parts of a program that are run by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// Packs the weights; once for each version of them.
    Prepare,
    /// From the inputs to the outputs.
    Forward,
    /// From the outputs' gradients to all others.
    Backward,
    /// From the parameters' gradients to new parameters.
    Update,
}

impl Section {
    /// All sections in the order of a training step.
    pub const ALL: [Self; 4] = [Self::Prepare, Self::Forward, Self::Backward, Self::Update];
}

/// Words of the table that hold the random seed, low word first.
pub const SEED_WORDS: usize = 2;

/// Buffers, table and operations of a network.
#[derive(Debug, Clone, Default)]
pub struct Program {
    buffers: Vec<BufferSpec>,
    table: Vec<u32>,
    sections: [Vec<Operation>; 4],
}

impl Role {
    /// Whether a caller's buffer may be bound to it.
    pub fn is_bindable(self) -> bool {
        matches!(self, Self::External | Self::Input | Self::Output)
    }
}

impl Program {
    /// An empty program; the table holds the seed words.
    pub fn new() -> Self {
        Self {
            table: vec![0; SEED_WORDS],
            ..Self::default()
        }
    }

    /// Adds a buffer. A device makes it at least one element long and fills it with zeros when the program is loaded.
    pub fn buffer(
        &mut self,
        label: impl Into<Cow<'static, str>>,
        len: usize,
        role: Role,
    ) -> BufferId {
        self.stored_buffer(label, len, role, Precision::F32)
    }

    /// Like [`buffer`](Self::buffer), stored in another precision. A device that cannot do that refuses to load the program,
    /// as it does where an operation has no kernel for it. The host's copies are `f32` all the same.
    pub fn stored_buffer(
        &mut self,
        label: impl Into<Cow<'static, str>>,
        len: usize,
        role: Role,
        precision: Precision,
    ) -> BufferId {
        self.buffers.push(BufferSpec {
            label: label.into(),
            len,
            role,
            precision,
        });
        BufferId(self.buffers.len() - 1)
    }

    /// Appends words to the table.
    pub fn table(&mut self, words: &[u32]) -> TableOffset {
        let offset = self.table.len();
        self.table.extend_from_slice(words);
        TableOffset(offset)
    }

    /// Appends an operation to a section; one that would do nothing is left out.
    pub fn push(&mut self, section: Section, operation: impl Into<Operation>) {
        let operation = operation.into();
        if !operation.is_empty() {
            self.sections[section as usize].push(operation);
        }
    }

    /// All buffers; a [`BufferId`] counts them from 0.
    pub fn buffers(&self) -> &[BufferSpec] {
        &self.buffers
    }

    /// A buffer's specification.
    ///
    /// # Panics
    /// If there is no such buffer because another, larger program gave the id.
    pub fn spec(&self, buffer: BufferId) -> &BufferSpec {
        &self.buffers[buffer.0]
    }

    /// The table's words; the first [`SEED_WORDS`] are the seed.
    pub fn words(&self) -> &[u32] {
        &self.table
    }

    /// The operations of a section.
    pub fn section(&self, section: Section) -> &[Operation] {
        &self.sections[section as usize]
    }

    /// A program of the same ids and tables that does `operations` in its forward section, with `buffers` alone, its own.
    #[cfg(feature = "gpu")]
    pub(crate) fn only(&self, buffers: &[BufferId], operations: Vec<Operation>) -> Self {
        let keep = |(index, spec): (usize, &BufferSpec)| {
            let kept = buffers.contains(&BufferId(index));
            let external = spec.role.is_bindable();
            BufferSpec {
                len: if kept { spec.len } else { 0 },
                role: if external { Role::Workspace } else { spec.role },
                ..spec.clone()
            }
        };
        let mut program = Self {
            buffers: self.buffers.iter().enumerate().map(keep).collect(),
            table: self.table.clone(),
            sections: Default::default(),
        };
        for operation in operations {
            program.push(Section::Forward, operation);
        }
        program
    }

    /// Bytes of all buffers of one role.
    pub fn bytes(&self, role: Role) -> u64 {
        let of_role = self.buffers.iter().filter(|spec| spec.role == role);
        of_role.map(|spec| spec.precision.bytes(spec.len)).sum()
    }

    /// `len` words of the table from `offset` on: for a device that looks at what an operation's indices are.
    ///
    /// # Errors
    /// [`Error::Shape`] if the table ends before.
    pub fn words_at(&self, offset: TableOffset, len: usize) -> Result<&[u32]> {
        let words = self
            .table
            .get(offset.0..)
            .and_then(|words| words.get(..len));
        words.ok_or_else(|| {
            Error::shape(
                "table of an operation",
                format!("words within 0..{}", self.table.len()),
                format!("{len} words from {}", offset.0),
            )
        })
    }

    /// Checks that `buffer` holds exactly `len` elements: for a device's [`read`](crate::Plan::read) and
    /// [`write`](crate::Plan::write).
    ///
    /// # Errors
    /// [`Error::Shape`] if not, or if there is no such buffer.
    pub fn check_len(&self, buffer: BufferId, len: usize) -> Result<()> {
        let count = self.buffers.len();
        let spec = self.buffers.get(buffer.0).ok_or_else(|| {
            let expected = format!("one of the program's {count} buffers");
            Error::shape("buffer", expected, format!("number {}", buffer.0))
        })?;
        if spec.len == len {
            Ok(())
        } else {
            Err(Error::shape(spec.label.clone(), spec.len, len))
        }
    }
}
