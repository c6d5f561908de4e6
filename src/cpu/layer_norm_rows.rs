//! [`LayerNormRows`] on the CPU.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
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
            let normalise = |row: &mut [f32], deviation: &mut f32| {
                let (mean, inverse) = mask.statistics(row, f64::from(self.epsilon));
                *deviation = inverse;
                for (index, value) in row.iter_mut().enumerate() {
                    let bias = bias.map_or(0.0, |bias| bias[index]);
                    *value = match mask.has(index) {
                        true => (*value - mean) * inverse * scale.map_or(1.0, |s| s[index]) + bias,
                        false => bias,
                    };
                }
            };
            rows_with_one(values, units, deviation, normalise);
        })
    }
}

/// Calls `work` for every row together with one element of its own.
pub(super) fn rows_with_one(
    values: &mut [f32],
    width: usize,
    ones: &mut [f32],
    work: impl Fn(&mut [f32], &mut f32) + Sync,
) {
    use rayon::prelude::*;
    if width == 0 {
        return;
    }
    values
        .par_chunks_mut(width)
        .zip(ones)
        .with_min_len((8 * 1024 / width).max(1))
        .for_each(|(row, one)| work(row, one));
}
