//! The GRU cell of a step, in its two forms.

use super::float::{Float, store};
use super::layer::{CellGradient, Layer, Sides, Values};
use super::linear::{add_outer, multiply, multiply_transposed};
use crate::cell::{gru_after, gru_before, gru_reset, pullback};
use crate::config::GruReset;
use crate::params::ParameterKind;

/// What the backward needs.
#[derive(Debug, Clone)]
pub(super) struct GruStep<T> {
    /// Pre-activations `r z n q` of each unit; with reset before `q` is not used.
    pre: Vec<[T; 4]>,
    /// Reset before: `r * u`, what enters the candidate's product.
    v: Vec<T>,
}

impl<T: Float> Layer<'_, T> {
    pub(super) fn gru(
        &self,
        sides: &Sides<T>,
        before: &Values<T>,
        u: &[T],
    ) -> (GruStep<T>, Values<T>) {
        let (spec, activations) = (self.spec(), self.activations());
        let hidden = self.config.hidden_size();
        let Sides { input, recurrent } = sides;
        let (z, n) = (hidden, 2 * hidden);
        let mut pre: Vec<[T; 4]> = (0..hidden)
            .map(|unit| {
                [
                    input[unit] + recurrent[unit],
                    input[z + unit] + recurrent[z + unit],
                    input[n + unit],
                    recurrent[n + unit],
                ]
            })
            .collect();
        let mut v = Vec::new();
        if spec.reset == GruReset::Before {
            let reset = |unit: usize| gru_reset(spec, activations, pre[unit][0], u[unit]);
            v.extend((0..hidden).map(|unit| reset(unit).stored()));
            let product = multiply(self.candidate_weights(), &v);
            for (pre, product) in pre.iter_mut().zip(product) {
                store(pre);
                pre[2] = pre[2] + pre[3] + product;
            }
        }
        let unit = |(&pre, &h): (&[T; 4], &T)| match spec.reset {
            GruReset::After => gru_after(spec, activations, pre, h),
            GruReset::Before => gru_before(spec, activations, [pre[1], pre[2]], h),
        };
        let h = pre.iter().zip(&before.h).map(unit).collect();
        if !spec.is_whole_norm() {
            pre.iter_mut().for_each(|pre| store(pre));
        }
        (GruStep { pre, v }, Values { h, c: Vec::new() })
    }

    /// The rows of `W_hh` that belong to the candidate.
    fn candidate_weights(&self) -> &[T] {
        let hidden = self.config.hidden_size();
        &self.parameter(ParameterKind::WeightRecurrent)[2 * hidden * hidden..]
    }

    pub(super) fn gru_backward(
        &self,
        step: &GruStep<T>,
        (before, u): (&Values<T>, &[T]),
        d_new: &Values<T>,
        d_parameters: &mut [T],
    ) -> CellGradient<T> {
        let hidden = self.config.hidden_size();
        // Rows `r z n q` of all units.
        let mut d_pre = vec![T::zero(); 4 * hidden];
        let mut d_before = Vec::new();
        for unit in 0..hidden {
            let (d, d_h) = self.gru_unit_backward(step.pre[unit], before.h[unit], d_new.h[unit]);
            for (slot, d) in d.into_iter().enumerate() {
                d_pre[slot * hidden + unit] = d.stored();
            }
            d_before.push(d_h);
        }
        let mut d_u = Vec::new();
        if self.spec().reset == GruReset::Before {
            d_u = self.reset_backward(step, u, &mut d_pre, d_parameters);
        }
        let (gates, recurrent_candidate) = d_pre.split_at(3 * hidden);
        let mut recurrent = gates.to_vec();
        recurrent[2 * hidden..].copy_from_slice(recurrent_candidate);
        CellGradient {
            sides: Sides {
                input: gates.to_vec(),
                recurrent,
            },
            before: Values {
                h: d_before,
                c: Vec::new(),
            },
            u: d_u,
        }
    }

    /// The gradients of a unit's `r z n q` and old state, the way through the reset-before product left out.
    fn gru_unit_backward(&self, [r, z, n, q]: [T; 4], h: T, d: T) -> ([T; 4], T) {
        let (spec, activations) = (self.spec(), self.activations());
        match spec.reset {
            GruReset::After => {
                let unit =
                    |[r, z, n, q, h]: [_; 5]| [gru_after(spec, activations, [r, z, n, q], h)];
                let (_, [r, z, n, q, h]) = pullback(unit, [r, z, n, q, h], [d]);
                ([r, z, n, q], h)
            }
            GruReset::Before => {
                let unit = |[z, n, h]: [_; 3]| [gru_before(spec, activations, [z, n], h)];
                let (_, [z, n, h]) = pullback(unit, [z, n, h], [d]);
                // The candidate's two biases are added to one sum, so both have its gradient.
                ([T::zero(), z, n, n], h)
            }
        }
    }

    /// Back through the candidate's product and the reset gate: writes the rows `r` of `d_pre`, returns the gradient of
    /// the state that the gate multiplies.
    fn reset_backward(
        &self,
        step: &GruStep<T>,
        u: &[T],
        d_pre: &mut [T],
        d_parameters: &mut [T],
    ) -> Vec<T> {
        let (spec, activations) = (self.spec(), self.activations());
        let hidden = self.config.hidden_size();
        let d_candidate = &d_pre[2 * hidden..3 * hidden];
        let d_weights = &mut d_parameters[self.place(ParameterKind::WeightRecurrent)];
        add_outer(&mut d_weights[2 * hidden * hidden..], d_candidate, &step.v);
        let d_v = multiply_transposed(self.candidate_weights(), d_candidate, hidden);
        let mut d_u = vec![T::zero(); hidden];
        for unit in 0..hidden {
            let reset = |[r, u]: [_; 2]| [gru_reset(spec, activations, r, u)];
            let inputs = [step.pre[unit][0], u[unit]];
            let (_, [d_r, d]) = pullback(reset, inputs, [d_v[unit]]);
            d_pre[unit] = d_r.stored();
            d_u[unit] = d;
        }
        d_u
    }
}
