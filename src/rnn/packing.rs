//! From the flat parameters to the [packed weights](crate::packed) and from the packed gradients back: copies that run on the
//! device.

use crate::config::{Cell, Coupled, GruReset, RnnConfig};
use crate::error::Result;
use crate::ops::CopyJob;
use crate::packed::PackedLayout;
use crate::params::{ParameterKind, ParameterLayout};

/// The copies between the flat parameters (source) and the packed weights of one layer (target).
#[derive(Debug, Clone, Default)]
pub struct PackingJobs {
    /// One place in the flat parameters for each packed place.
    pub first: Vec<CopyJob>,
    /// Second biases, to be added to what `first` wrote.
    pub second: Vec<CopyJob>,
    /// The transposed matrices, from the flat parameters.
    pub transposed: Vec<CopyJob>,
}

impl PackingJobs {
    /// The copies of layer `layer`, all directions.
    pub fn new(config: &RnnConfig, parameters: &ParameterLayout, layer: usize) -> Result<Self> {
        let layout = PackedLayout::new(config, layer)?;
        let mut jobs = Self::default();
        for direction in 0..config.directions() {
            for entry in parameters.entries() {
                if entry.layer == layer && entry.direction == direction {
                    let place = Placement {
                        config,
                        layout: &layout,
                        parameter: entry.offset,
                        packed: direction * layout.len(),
                    };
                    place.push(entry.kind, config.layer_input_size(layer), &mut jobs);
                }
            }
        }
        Ok(jobs)
    }

    /// The copies from the packed gradients (directions `gradient_len` apart) to the flat gradients.
    pub fn gradients(&self, layout: &PackedLayout) -> Vec<CopyJob> {
        let packed_gradient = |job: &CopyJob| {
            let direction = job.target / layout.len();
            CopyJob {
                source: job.target - direction * (layout.len() - layout.gradient_len()),
                target: job.source,
                size: job.size,
                source_strides: job.target_strides,
                target_strides: job.source_strides,
            }
        };
        self.first
            .iter()
            .chain(&self.second)
            .map(packed_gradient)
            .collect()
    }
}

/// Where the parameters of one layer and direction go.
struct Placement<'a> {
    config: &'a RnnConfig,
    layout: &'a PackedLayout,
    /// The tensor's offset in the flat parameters.
    parameter: usize,
    /// The direction's offset in the packed weights.
    packed: usize,
}

impl Placement<'_> {
    fn push(&self, kind: ParameterKind, inputs: usize, jobs: &mut PackingJobs) {
        use ParameterKind as Kind;
        let (layout, spec) = (self.layout, self.config.spec());
        let (hidden, state) = (self.config.hidden_size(), self.config.state_size());
        let merged_bias = if spec.is_per_gate_norm() {
            layout.gate_bias
        } else {
            layout.input_bias
        };
        match kind {
            Kind::WeightInput => {
                for (gate, slot) in self.gate_slots(false) {
                    jobs.first
                        .push(self.gate_matrix(gate, inputs, layout.input + slot));
                }
            }
            Kind::WeightRecurrent => {
                for (gate, slot) in self.gate_slots(true) {
                    jobs.first
                        .push(self.gate_matrix(gate, state, layout.recurrent + slot));
                    jobs.transposed
                        .push(self.gate_matrix_transposed(gate, slot));
                }
                if spec.cell == Cell::Gru && spec.reset == GruReset::Before {
                    let parameter = self.parameter + 2 * hidden * hidden;
                    self.push_second(parameter, [1, hidden], jobs);
                }
            }
            Kind::BiasInput => {
                self.push_vector(merged_bias, &self.gate_slots(false), &mut jobs.first)
            }
            Kind::BiasRecurrent => {
                // The reset-after GRU's slot q has no other bias; `first` must write it.
                let (own, shared): (Vec<_>, Vec<_>) = self
                    .bias_recurrent_slots()
                    .into_iter()
                    .partition(|&(_, slot)| spec.cell == Cell::Gru && slot == 3);
                self.push_vector(merged_bias, &own, &mut jobs.first);
                self.push_vector(merged_bias, &shared, &mut jobs.second);
            }
            Kind::WeightProjection => self.push_second(self.parameter, [1, hidden], jobs),
            Kind::BiasProjection => jobs
                .first
                .push(self.plain(0, layout.projection_bias, state)),
            Kind::Peephole => {
                for (index, gate) in [0, 1, 3].into_iter().enumerate() {
                    if Some(gate) != self.unused_gate() {
                        let at = index * hidden;
                        jobs.first
                            .push(self.plain(at, layout.peephole + at, hidden));
                    }
                }
            }
            Kind::NormInput => {
                self.push_vector(layout.norm_input, &self.gate_slots(false), &mut jobs.first)
            }
            Kind::NormRecurrent => {
                self.push_vector(
                    layout.norm_recurrent,
                    &self.gate_slots(true),
                    &mut jobs.first,
                );
            }
            Kind::NormCellWeight => jobs
                .first
                .push(self.plain(0, layout.norm_cell_weight, hidden)),
            Kind::NormCellBias => jobs
                .first
                .push(self.plain(0, layout.norm_cell_bias, hidden)),
            Kind::NormGates => {
                self.push_vector(layout.norm_gates, &self.gate_slots(false), &mut jobs.first)
            }
        }
    }

    /// The gate whose weights are ignored.
    fn unused_gate(&self) -> Option<usize> {
        match self.config.spec().coupled {
            None => None,
            Some(Coupled::ForgetFromInput) => Some(1),
            Some(Coupled::InputFromForget) => Some(0),
        }
    }

    /// (gate, slot) of the input side or of the recurrent side.
    fn gate_slots(&self, recurrent: bool) -> Vec<(usize, usize)> {
        let spec = self.config.spec();
        match (spec.cell, recurrent, spec.reset) {
            (Cell::Elman, ..) => vec![(0, 0)],
            (Cell::Lstm, ..) => (0..4)
                .filter(|&gate| Some(gate) != self.unused_gate())
                .map(|gate| (gate, gate))
                .collect(),
            (Cell::Gru, false, _) => vec![(0, 0), (1, 1), (2, 2)],
            (Cell::Gru, true, GruReset::After) => vec![(0, 0), (1, 1), (2, 3)],
            (Cell::Gru, true, GruReset::Before) => vec![(0, 0), (1, 1)],
        }
    }

    /// (gate, slot) of the recurrent bias: the reset-before candidate's is simply added.
    fn bias_recurrent_slots(&self) -> Vec<(usize, usize)> {
        let spec = self.config.spec();
        let before = spec.cell == Cell::Gru && spec.reset == GruReset::Before;
        self.gate_slots(!before)
    }

    /// `[H, inputs]` of one gate to `[inputs, H, slots]`.
    fn gate_matrix(&self, gate: usize, inputs: usize, packed: usize) -> CopyJob {
        let (hidden, slots) = (self.config.hidden_size(), self.layout.slots);
        CopyJob {
            source: self.parameter + gate * hidden * inputs,
            target: self.packed + packed,
            size: [inputs, hidden],
            source_strides: [1, inputs],
            target_strides: [hidden * slots, slots],
        }
    }

    /// `[H, P]` of one gate to `[H, P, slots]`.
    fn gate_matrix_transposed(&self, gate: usize, slot: usize) -> CopyJob {
        let (hidden, slots) = (self.config.hidden_size(), self.layout.slots);
        let state = self.config.state_size();
        CopyJob {
            source: self.parameter + gate * hidden * state,
            target: self.packed + self.layout.recurrent_transposed + slot,
            size: [hidden, state],
            source_strides: [state, 1],
            target_strides: [state * slots, slots],
        }
    }

    fn push_second(&self, parameter: usize, strides: [usize; 2], jobs: &mut PackingJobs) {
        let size = [self.layout.second_inputs, self.layout.second_outputs];
        jobs.first.push(CopyJob {
            source: parameter,
            target: self.packed + self.layout.second,
            size,
            source_strides: strides,
            target_strides: [size[1], 1],
        });
        jobs.transposed.push(CopyJob {
            source: parameter,
            target: self.packed + self.layout.second_transposed,
            size,
            source_strides: strides,
            target_strides: [1, size[0]],
        });
    }

    /// `[G, H]` to `[H, slots]`.
    fn push_vector(&self, packed: usize, slots: &[(usize, usize)], jobs: &mut Vec<CopyJob>) {
        let hidden = self.config.hidden_size();
        for &(gate, slot) in slots {
            jobs.push(CopyJob {
                source: self.parameter + gate * hidden,
                target: self.packed + packed + slot,
                size: [1, hidden],
                source_strides: [hidden, 1],
                target_strides: [hidden * self.layout.slots, self.layout.slots],
            });
        }
    }

    fn plain(&self, from: usize, packed: usize, len: usize) -> CopyJob {
        CopyJob {
            source: self.parameter + from,
            target: self.packed + packed,
            size: [1, len],
            source_strides: [len, 1],
            target_strides: [len, 1],
        }
    }
}
