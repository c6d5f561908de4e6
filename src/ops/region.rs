//! Places in a program's buffers and in its table.

/// A buffer of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

impl BufferId {
    /// Its place in [`Program::buffers`](crate::ops::Program::buffers).
    pub fn index(self) -> usize {
        self.0
    }
}

/// A place in a buffer: everything from element `offset` on; the operation's sizes say how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The buffer.
    pub buffer: BufferId,
    /// First element.
    pub offset: usize,
}

impl Region {
    /// The place `elements` further on.
    pub fn at(self, elements: usize) -> Self {
        Self {
            buffer: self.buffer,
            offset: self.offset + elements,
        }
    }
}

impl From<BufferId> for Region {
    fn from(buffer: BufferId) -> Self {
        Self { buffer, offset: 0 }
    }
}

/// A place in the program's table of `u32`: the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableOffset(pub(crate) usize);

impl TableOffset {
    /// Its place in [`Program::words`](crate::ops::Program::words).
    pub fn index(self) -> usize {
        self.0
    }

    /// The place `words` further on.
    pub fn at(self, words: usize) -> Self {
        Self(self.0 + words)
    }
}
