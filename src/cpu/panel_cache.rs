//! The panels of a plan's weights: filled when first wanted and again when the weights have changed.

use std::sync::Arc;

use pulp::Arch;

use crate::cpu::memory::Memory;
use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::packed_gemm::MatrixSource;
use crate::cpu::panels::Panels;
use crate::cpu::plain::{LayerPanels, LayerSource};
use crate::cpu::staged::{StagedPanels, StagedSource};
use crate::error::Result;
use crate::ops::BufferId;

/// What an operation wants to have in panels. Where the weights lie in a buffer of the plan's own
/// ([`Role::Packed`](crate::ops::Role)), which nobody else can change, these last until the plan does.
#[derive(Debug, Clone)]
pub(super) enum PanelSource {
    /// The recurrent weights of a layer.
    Layer(Box<LayerSource>),
    /// Those of a layer with a cell of any kind.
    Staged(Box<StagedSource>),
    /// The weights of a matrix product.
    Matrix(MatrixSource),
}

impl PanelSource {
    /// The buffer of the weights.
    pub(super) fn weights(&self) -> BufferId {
        match self {
            Self::Layer(source) => source.weights(),
            Self::Staged(source) => source.weights(),
            Self::Matrix(source) => source.weights(),
        }
    }

    /// Takes on what another source wants too, if the panels of both are the same.
    fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Layer(own), Self::Layer(other)) => own.merge(other),
            (Self::Staged(own), Self::Staged(other)) => own.merge(other),
            (Self::Matrix(own), Self::Matrix(other)) => own == other,
            _ => false,
        }
    }
}

/// The panels of a source.
#[derive(Debug)]
pub(super) enum PackedPanels {
    Layer(LayerPanels),
    Staged(StagedPanels),
    Matrix(Panels),
}

impl PackedPanels {
    fn new(pool: &Arc<MemoryPool>, arch: Arch, source: &PanelSource) -> Result<Self> {
        Ok(match source {
            PanelSource::Layer(source) => Self::Layer(LayerPanels::new(pool, arch, source)?),
            PanelSource::Staged(source) => Self::Staged(StagedPanels::new(pool, arch, source)?),
            PanelSource::Matrix(source) => Self::Matrix(source.panels(pool, arch)?),
        })
    }

    fn fill(&mut self, source: &PanelSource, weights: &[f32]) {
        match (self, source) {
            (Self::Layer(panels), PanelSource::Layer(source)) => panels.fill(source, weights),
            (Self::Staged(panels), PanelSource::Staged(source)) => panels.fill(source, weights),
            (Self::Matrix(panels), PanelSource::Matrix(source)) => source.fill(panels, weights),
            // `new` makes the panels of the source's own kind.
            _ => {}
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Layer(panels) => panels.len(),
            Self::Staged(panels) => panels.len(),
            Self::Matrix(panels) => panels.len(),
        }
    }
}

/// The panels of all weights of a plan.
#[derive(Debug, Default)]
pub(super) struct PanelCache {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    source: PanelSource,
    /// From the first use on.
    panels: Option<PackedPanels>,
    /// Whether the plan would know of a change.
    lasting: bool,
    fresh: bool,
}

impl PanelCache {
    /// The place of an operation's panels; those of the same weights are shared.
    pub(super) fn place(&mut self, source: PanelSource, lasting: bool) -> usize {
        let known = (self.entries.iter_mut()).position(|entry| entry.source.merge(&source));
        if let Some(place) = known {
            return place;
        }
        self.entries.push(Entry {
            source,
            panels: None,
            lasting,
            fresh: false,
        });
        self.entries.len() - 1
    }

    /// Allocates all panels for an instruction set, once all places are known.
    pub(super) fn allocate(&mut self, pool: &Arc<MemoryPool>, arch: Arch) -> Result<()> {
        for entry in &mut self.entries {
            entry.panels = Some(PackedPanels::new(pool, arch, &entry.source)?);
        }
        Ok(())
    }

    /// Notes that a buffer has been written.
    pub(super) fn written(&mut self, buffer: BufferId) {
        for entry in &mut self.entries {
            entry.fresh &= entry.source.weights() != buffer;
        }
    }

    /// Whether any panels are made of a buffer.
    pub(super) fn are_of(&self, buffer: BufferId) -> bool {
        let mut sources = self.entries.iter().map(|entry| &entry.source);
        sources.any(|source| source.weights() == buffer)
    }

    /// The panels at `place`, filled from the weights as they are now.
    pub(super) fn get(&mut self, place: usize, memory: &Memory) -> Result<Option<&PackedPanels>> {
        let entry = &mut self.entries[place];
        if let (Some(panels), false) = (&mut entry.panels, entry.fresh) {
            panels.fill(&entry.source, &memory.read(entry.source.weights())?);
            entry.fresh = entry.lasting;
        }
        Ok(entry.panels.as_ref())
    }

    /// Elements of all panels.
    pub(super) fn len(&self) -> usize {
        let panels = self
            .entries
            .iter()
            .filter_map(|entry| entry.panels.as_ref());
        panels.map(PackedPanels::len).sum()
    }
}
