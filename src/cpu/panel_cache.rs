//! The panels of a plan's layers: filled when first wanted and again when the weights have changed.

use crate::cpu::memory::Memory;
use crate::cpu::plain::{LayerPanels, PanelSource};
use crate::error::Result;
use crate::ops::{BufferId, Role};

/// The panels of all layers of a plan.
#[derive(Debug, Default)]
pub(super) struct PanelCache {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    source: PanelSource,
    panels: Option<LayerPanels>,
    fresh: bool,
    /// A caller's buffer may change at any time.
    lasting: bool,
}

impl PanelCache {
    /// The place of an operation's panels; operations of one layer share theirs.
    pub(super) fn place(&mut self, source: PanelSource, role: Role) -> usize {
        let known = self
            .entries
            .iter()
            .position(|entry| entry.source.is_same(&source));
        if let Some(place) = known {
            self.entries[place].source.backward |= source.backward;
            return place;
        }
        self.entries.push(Entry {
            source,
            panels: None,
            fresh: false,
            lasting: !role.is_bindable(),
        });
        self.entries.len() - 1
    }

    /// Allocates all panels, once all places are known.
    pub(super) fn allocate(&mut self) {
        for entry in &mut self.entries {
            entry.panels = Some(LayerPanels::new(&entry.source));
        }
    }

    /// Notes that a buffer has been written.
    pub(super) fn written(&mut self, buffer: BufferId) {
        for entry in &mut self.entries {
            entry.fresh &= entry.source.weights() != buffer;
        }
    }

    /// Whether any panels are made of a buffer.
    pub(super) fn are_of(&self, buffer: BufferId) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.source.weights() == buffer)
    }

    /// The panels at `place`, filled from the weights as they are now.
    pub(super) fn get(&mut self, place: usize, memory: &Memory) -> Result<Option<&LayerPanels>> {
        let entry = &mut self.entries[place];
        if let Some(panels) = &mut entry.panels
            && !(entry.fresh && entry.lasting)
        {
            panels.fill(&entry.source, &memory.read(entry.source.weights())?);
            entry.fresh = true;
        }
        Ok(entry.panels.as_ref())
    }

    /// Elements of all panels.
    pub(super) fn len(&self) -> usize {
        let panels = self
            .entries
            .iter()
            .filter_map(|entry| entry.panels.as_ref());
        panels.map(LayerPanels::len).sum()
    }
}
