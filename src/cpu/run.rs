//! What an operation on the CPU is, and what it works with.

use std::fmt::Debug;

use pulp::Arch;

use crate::cpu::access::Accesses;
use crate::cpu::memory::Memory;
use crate::cpu::panel_cache::{PackedPanels, PanelSource};
use crate::cpu::panels::Panels;
use crate::cpu::plain::LayerPanels;
use crate::error::Result;
use crate::ops::TableOffset;

/// An operation on the CPU.
pub(super) trait Run: Debug + Send + Sync {
    /// Names everything that [`run`](Self::run) touches.
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()>;

    /// Elements of scratch space that it needs.
    fn scratch(&self) -> usize {
        0
    }

    /// Multiplications of its matrix products.
    fn multiplications(&self) -> usize {
        0
    }

    /// Where the panels come from that it wants its weights in, if it does.
    fn panels(&self) -> Option<PanelSource> {
        None
    }

    /// Does it. The accesses have been checked.
    fn run(&self, context: Context<'_>) -> Result<()>;
}

/// What an operation works with.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) memory: &'a Memory,
    pub(super) words: &'a [u32],
    pub(super) seed: u64,
    /// At least as much as the operation asked for, of any content.
    pub(super) scratch: &'a mut [f32],
    /// What the operation asked for.
    pub(super) panels: Option<&'a PackedPanels>,
    /// The device's instruction set.
    pub(super) arch: Arch,
}

impl<'a> Context<'a> {
    /// The panels of a layer, if the operation asked for such.
    pub(super) fn layer_panels(&self) -> Option<&'a LayerPanels> {
        match self.panels {
            Some(PackedPanels::Layer(panels)) => Some(panels),
            _ => None,
        }
    }

    /// The panels of a matrix, if the operation asked for such.
    pub(super) fn matrix_panels(&self) -> Option<&'a Panels> {
        match self.panels {
            Some(PackedPanels::Matrix(panels)) => Some(panels),
            _ => None,
        }
    }

    /// `len` words of the table.
    pub(super) fn words(&self, table: TableOffset, len: usize) -> &'a [u32] {
        &self.words[table.0..table.0 + len]
    }
}
