//! The forward of a stack by its wavefront: a layer takes a chunk of time while the layer below it takes the next one.

use std::ops::Range;

use super::forward::{ALIGNMENT, MOST_BOUND_BYTES};
use super::{GradientMode, Network, NetworkOptions};
use crate::batch::Packing;
use crate::config::{Direction, RnnConfig};
use crate::error::Result;
use crate::ops::{Program, RecurrentWave, Section};
use crate::packed::PackedLayout;

/// Sequences up to which it gains: with more of them a layer alone keeps the cores of most devices busy.
const MOST_SEQUENCES: usize = 16;

/// The chunks of time; none where the options do not ask for a wavefront, or the network cannot have one.
pub(super) fn chunks(
    config: &RnnConfig,
    packing: &Packing,
    options: &NetworkOptions,
) -> Result<Vec<Range<usize>>> {
    let Some(steps) = options.wavefront else {
        return Ok(Vec::new());
    };
    let suits = config.layer_count() > 1
        && packing.steps() > steps
        && packing.batch() <= MOST_SEQUENCES
        && config.direction() == Direction::Forward
        && options.gradients != Some(GradientMode::Recompute);
    if !suits || !can_bind(config, packing, options)? {
        return Ok(Vec::new());
    }
    let starts = (0..packing.steps()).step_by(steps);
    Ok(starts
        .map(|start| start..packing.steps().min(start.saturating_add(steps)))
        .collect())
}

/// Whether one binding reaches all layers' weights, gates and states on every adapter.
fn can_bind(config: &RnnConfig, packing: &Packing, options: &NetworkOptions) -> Result<bool> {
    let layers = config.layer_count();
    let mut packed: usize = 0;
    for layer in 0..layers {
        let len = PackedLayout::new(config, layer)?.len();
        packed = packed.saturating_add(len.next_multiple_of(ALIGNMENT));
    }
    // h, what enters the recurrent product, its mask; c, what enters the second product.
    let states = 3 * config.state_size() + 2 * config.hidden_size();
    let width = states.max(config.hidden_size() * config.spec().slots());
    let rows = (packing.batch() + packing.tokens()).saturating_add(ALIGNMENT);
    let activations = layers.saturating_mul(rows).saturating_mul(width);
    let most = MOST_BOUND_BYTES / options.storage.bytes(1);
    Ok(packed.max(activations) as u64 <= most)
}

impl Network {
    /// Pushes the layers' forward by anti-diagonals: the cells (layer, chunk) of one do not need each other.
    pub(super) fn push_waves(&self, program: &mut Program) {
        for layer in &self.layers {
            self.push_first_states(program, layer);
        }
        let chunks = &self.wave_chunks;
        for wave in 0..chunks.len() + self.layers.len() - 1 {
            let cells = || {
                let chunk = move |index: usize| chunks.get(wave.checked_sub(index)?);
                { self.layers.iter() }.filter_map(move |layer| Some((layer, chunk(layer.index)?)))
            };
            for (layer, steps) in cells() {
                let rows = self.rows(steps);
                self.push_input_dropout(program, layer, &rows);
                self.push_input_projection(program, Section::Forward, (layer, 0), &rows);
            }
            let recurrences = cells().map(|(layer, steps)| self.recurrence(layer, steps));
            let wave = RecurrentWave {
                cells: recurrences.collect(),
            };
            program.push(Section::Forward, wave);
            for (layer, steps) in cells() {
                let rows = self.rows(steps);
                program.push(Section::Forward, self.merge(layer, &rows));
            }
        }
        for layer in &self.layers {
            self.push_final_state(program, layer, 0);
        }
    }
}
