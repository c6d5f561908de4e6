//! A stack by its wavefront: forward, a layer takes a chunk of time while the layer below it takes the next one; backward, while the
//! layer above it takes the one before.

use std::ops::Range;

use super::backward::Pass;
use super::forward::{ALIGNMENT, MOST_BOUND_BYTES};
use super::{Network, NetworkOptions};
use crate::batch::Packing;
use crate::config::{Direction, RnnConfig};
use crate::error::Result;
use crate::ops::{Precision, Program, RecurrentBackwardWave, RecurrentWave, Section};
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
        && config.direction() == Direction::Forward;
    if !suits || !can_bind(config, packing, options)? {
        return Ok(Vec::new());
    }
    let (mut chunks, mut start) = (Vec::new(), 0);
    while start < packing.steps() {
        let end = packing.steps().min(start.saturating_add(steps));
        let end = end.min(options.next_cut(start));
        chunks.push(start..end);
        start = end;
    }
    Ok(chunks)
}

/// Whether one binding reaches all layers' weights, gates, states and what their backward carries on every adapter.
fn can_bind(config: &RnnConfig, packing: &Packing, options: &NetworkOptions) -> Result<bool> {
    let layers = config.layer_count();
    let (mut packed, mut vectors): (usize, usize) = (0, 0);
    for layer in 0..layers {
        let layout = PackedLayout::new(config, layer)?;
        packed = packed.saturating_add(layout.len().next_multiple_of(ALIGNMENT));
        vectors = vectors.max(layout.vectors_len());
    }
    // h, what enters the recurrent product, its mask; c, what enters the second product.
    let states = 3 * config.state_size() + 2 * config.hidden_size();
    let width = states.max(config.hidden_size() * config.spec().slots());
    let rows = (packing.batch() + packing.tokens()).saturating_add(ALIGNMENT);
    let activations = layers.saturating_mul(rows).saturating_mul(width);
    // Single precision, whatever is stored: gradients of the states' rows; of h and its mask, of c, two of scratch, the vectors'.
    let carry = 2 * config.state_size() + 3 * config.hidden_size() + vectors;
    let of_rows = rows.saturating_mul(config.state_size());
    let carries = (packing.batch() + ALIGNMENT).saturating_mul(carry);
    let single = layers.saturating_mul(of_rows.max(carries));
    let fits =
        |len: usize, precision: Precision| len as u64 <= MOST_BOUND_BYTES / precision.bytes(1);
    Ok(fits(packed.max(activations), options.storage) && fits(single, Precision::F32))
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

    /// Pushes the layers' backward likewise, from the last chunk of the last layer on. Gradients of weights are products over
    /// all rows at the end, where they can wait.
    pub(super) fn push_backward_waves(&self, program: &mut Program, passes: &[Pass<'_>]) {
        for pass in passes {
            pass.push_start(program);
        }
        let chunks = &self.wave_chunks;
        for wave in 0..chunks.len() + passes.len() - 1 {
            let cells = || {
                let chunk = move |visited: usize| chunks.iter().rev().nth(visited);
                { passes.iter().enumerate() }.filter_map(move |(above, pass)| {
                    let visited = wave.checked_sub(above)?;
                    Some((pass, chunk(visited)?, visited))
                })
            };
            for (pass, steps, visited) in cells() {
                pass.push_edges(program, &self.rows(steps));
                pass.push_before_sweep(program, (steps, visited));
            }
            let sweeps = cells().map(|(pass, steps, _)| pass.sweep(steps));
            let sweeps = RecurrentBackwardWave {
                cells: sweeps.collect(),
            };
            program.push(Section::Backward, sweeps);
            for (pass, steps, visited) in cells() {
                let rows = self.rows(steps);
                match pass.can_wait() {
                    true => {
                        let gates = self.gate_place(pass.layer.gates, 0, &rows);
                        pass.push_input_gradient(program, 0, &rows, gates);
                    }
                    false => pass.push_products(program, &rows, visited > 0),
                }
                pass.push_input_dropout(program, &rows);
            }
        }
        for pass in passes {
            if pass.can_wait() {
                pass.push_weight_gradients(program, 0, &self.all_rows(), false);
            }
            pass.push_end(program);
        }
    }
}
