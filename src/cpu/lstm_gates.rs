//! From an LSTM row's sums of products to what enters its gates' activations, with the normalisations; shared by the
//! forward and the backward, which recomputes it.

use crate::cell::{add_peepholes, lstm_cell};
use crate::config::Peephole;
use crate::cpu::layer_norm_rows::SlotMask;
use crate::cpu::recurrence::{Layer, recurrent_slots};

/// The slots of `i f g o`.
pub(super) const CANDIDATE: usize = 2;
/// The output gate's slot.
pub(super) const OUTPUT: usize = 3;
const SLOTS: usize = 4;

/// One sequence at one step.
#[derive(Debug)]
pub(super) struct LstmRow<'a> {
    /// In, the sums of products: with whole-row normalisation the recurrent ones, else both. Out, normalised if there is a
    /// normalisation; else the gates' sums with their peepholes. `[hidden, slots]`
    pub(super) sums: &'a mut [f32],
    /// With whole-row normalisation: the input side, scaled and biased, `[hidden, slots]`.
    pub(super) input: &'a [f32],
    /// `[hidden]`
    pub(super) c_previous: &'a [f32],
    /// Out: what enters the activations, `[hidden, slots]`.
    pub(super) pre: &'a mut [f32],
    /// Out: the new cell state before zoneout, `[hidden]`.
    pub(super) c_new: &'a mut [f32],
}

impl LstmRow<'_> {
    /// Fills the row; returns `1 / sqrt(variance + epsilon)` of each gate, or with whole-row normalisation of the row.
    pub(super) fn compute(&mut self, layer: &Layer<'_>) -> [f32; SLOTS] {
        let (spec, activations) = (layer.spec(), layer.activations());
        let whole = spec.is_whole_norm();
        let mut deviations = [1.0; SLOTS];
        if whole {
            let slots = recurrent_slots(spec.cell, SLOTS);
            deviations = [slots.normalise(self.sums, layer.epsilon()); SLOTS];
            let scales = layer.weights.norm_recurrent;
            let terms = self.input.iter().zip(scales).zip(&*self.sums);
            for (pre, ((x, scale), sum)) in self.pre.iter_mut().zip(terms) {
                *pre = x + scale * sum;
            }
        } else {
            for slot in 0..OUTPUT {
                deviations[slot] = self.gate(layer, slot, true);
            }
        }
        for (unit, c_new) in self.c_new.iter_mut().enumerate() {
            let pre = &self.pre[unit * SLOTS..][..SLOTS];
            let gates = [pre[0], pre[1], pre[CANDIDATE]];
            *c_new = lstm_cell(spec, activations, gates, self.c_previous[unit]);
        }
        if !whole {
            let old = spec.peephole == Some(Peephole::Old);
            deviations[OUTPUT] = self.gate(layer, OUTPUT, old);
        }
        deviations
    }

    /// One gate that sees the previous or the new cell state; returns its deviation.
    fn gate(&mut self, layer: &Layer<'_>, slot: usize, sees_previous: bool) -> f32 {
        let seen = match sees_previous {
            true => self.c_previous,
            false => &*self.c_new,
        };
        if let Some(weights) = layer.weights.peephole(slot) {
            for (unit, (&weight, &c)) in weights.iter().zip(seen).enumerate() {
                let sum = &mut self.sums[unit * SLOTS + slot];
                [*sum] = add_peepholes(layer.spec(), [*sum], [weight], c);
            }
        }
        let indices = (slot..self.pre.len()).step_by(SLOTS);
        if !layer.spec().is_per_gate_norm() {
            indices.for_each(|index| self.pre[index] = self.sums[index]);
            return 1.0;
        }
        let deviation = gate_slot(slot).normalise(self.sums, layer.epsilon());
        let (scales, biases) = (layer.weights.norm_gates, layer.weights.gate_bias);
        indices.for_each(|index| {
            self.pre[index] = self.sums[index] * scales[index] + biases[index];
        });
        deviation
    }
}

/// One gate's elements of a row.
pub(super) fn gate_slot(slot: usize) -> SlotMask {
    SlotMask {
        slots: SLOTS,
        mask: 1 << slot,
    }
}

/// All elements of a row without slots.
pub(super) const PLAIN_ROW: SlotMask = SlotMask { slots: 1, mask: 1 };
