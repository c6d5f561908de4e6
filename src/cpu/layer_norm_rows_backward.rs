//! [`LayerNormRowsBackward`] on the CPU.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::layer_norm_rows::SlotMask;
use crate::cpu::parallel::for_rows;
use crate::cpu::plan::{Context, Run};
use crate::error::Result;
use crate::ops::LayerNormRowsBackward;

impl Run for LayerNormRowsBackward {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        SlotMask::new(self.slots, self.slot_mask)?;
        let units = elements(&[self.hidden, self.slots]);
        accesses.read(self.deviation, self.rows)?;
        accesses.read(self.scale, units)?;
        accesses.read(self.gradient, elements(&[self.rows, units]))?;
        accesses.write(self.normalised, elements(&[self.rows, units]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let mask = SlotMask::new(self.slots, self.slot_mask)?;
        let units = self.hidden * self.slots;
        let deviation = context.memory.part(self.deviation)?;
        let scale = context.memory.part(self.scale)?;
        let scale = &scale[..units];
        let gradient = context.memory.part(self.gradient)?;
        let mut normalised = context.memory.write(self.normalised.buffer)?;
        let normalised = &mut normalised[self.normalised.offset..][..self.rows * units];
        for_rows(normalised, units, 8, |row, normalised| {
            let gradient = &gradient[row * units..][..units];
            let scaled = |index: usize| scale[index] * gradient[index];
            normalisation_gradient(normalised, mask, deviation[row], scaled);
            for (index, value) in normalised.iter_mut().enumerate() {
                if !mask.has(index) {
                    *value = 0.0;
                }
            }
        });
        Ok(())
    }
}

/// Replaces a row of normalised values by the gradient of the raw ones, where `gradient(index)` is that of the normalised
/// ones: `deviation * (d - mean(d) - normalised * mean(d * normalised))`. Elements outside of `mask` stay.
pub(super) fn normalisation_gradient(
    normalised: &mut [f32],
    mask: SlotMask,
    deviation: f32,
    gradient: impl Fn(usize) -> f32,
) {
    let (mut sum, mut product) = (0.0f64, 0.0f64);
    for (index, &value) in normalised.iter().enumerate() {
        if mask.has(index) {
            let d = f64::from(gradient(index));
            sum += d;
            product += d * f64::from(value);
        }
    }
    let count = (normalised.len() / mask.slots * mask.count()) as f64;
    let (mean, product) = ((sum / count) as f32, (product / count) as f32);
    for (index, value) in normalised.iter_mut().enumerate() {
        if mask.has(index) {
            *value = deviation * (gradient(index) - mean - *value * product);
        }
    }
}
