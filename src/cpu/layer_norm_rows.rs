//! [`LayerNormRows`] on the CPU.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::parallel::{Lane, for_lanes};
use crate::cpu::plan::{Context, Run};
use crate::error::{Error, Result};
use crate::ops::LayerNormRows;

/// Which slots of a unit belong together.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotMask {
    pub(super) slots: usize,
    pub(super) mask: u32,
}

impl SlotMask {
    pub(super) fn new(slots: usize, mask: u32) -> Result<Self> {
        if slots == 0 || slots > 32 || mask == 0 || (slots < 32 && mask >> slots != 0) {
            return Err(Error::shape(
                "slots of a layer normalisation",
                format!("a mask of some of {slots} slots, at most 32"),
                format!("{mask:#b}"),
            ));
        }
        Ok(Self { slots, mask })
    }

    /// Whether element `index` of a row `[hidden, slots]` belongs.
    pub(super) fn has(self, index: usize) -> bool {
        self.mask >> (index % self.slots) & 1 == 1
    }

    /// How many slots belong.
    pub(super) fn count(self) -> usize {
        self.mask.count_ones() as usize
    }

    /// Mean and `1 / sqrt(variance + epsilon)` over the elements of `row` that belong.
    pub(super) fn statistics(self, row: &[f32], epsilon: f64) -> (f32, f32) {
        let count = (row.len() / self.slots * self.count()) as f64;
        let chosen = || {
            let chosen = row.iter().enumerate().filter(|&(index, _)| self.has(index));
            chosen.map(|(_, &value)| f64::from(value))
        };
        let mean = chosen().sum::<f64>() / count;
        let variance = chosen().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, (1.0 / (variance + epsilon).sqrt()) as f32)
    }
}

impl SlotMask {
    /// Gives the elements of `row` that belong mean 0 and variance 1; returns `1 / sqrt(variance + epsilon)`.
    pub(super) fn normalise(self, row: &mut [f32], epsilon: f64) -> f32 {
        let (mean, deviation) = self.statistics(row, epsilon);
        for (index, value) in row.iter_mut().enumerate() {
            if self.has(index) {
                *value = (*value - mean) * deviation;
            }
        }
        deviation
    }
}

impl Run for LayerNormRows {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        SlotMask::new(self.slots, self.slot_mask)?;
        let units = elements(&[self.hidden, self.slots]);
        accesses.read_optional(self.scale, units)?;
        accesses.read_optional(self.bias, units)?;
        accesses.write(self.deviation, self.rows)?;
        accesses.write(self.values, elements(&[self.rows, units]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let mask = SlotMask::new(self.slots, self.slot_mask)?;
        let units = self.hidden * self.slots;
        let scale = context.memory.optional(self.scale)?;
        let bias = context.memory.optional(self.bias)?;
        let (scale, bias) = (scale.as_deref(), bias.as_deref());
        let parts = [
            Extent::new(self.values, self.rows * units),
            Extent::new(self.deviation, self.rows),
        ];
        context.memory.write_parts(parts, |[values, deviation]| {
            let lanes = [Lane::new(values, units), Lane::new(deviation, 1)];
            for_lanes(lanes, self.rows, 8 * units, &|_, [row, deviation]| {
                deviation[0] = mask.normalise(row, f64::from(self.epsilon));
                for (index, value) in row.iter_mut().enumerate() {
                    let bias = bias.map_or(0.0, |bias| bias[index]);
                    *value = match mask.has(index) {
                        true => *value * scale.map_or(1.0, |scale| scale[index]) + bias,
                        false => bias,
                    };
                }
            });
        })
    }
}
