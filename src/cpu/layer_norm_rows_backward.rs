//! [`LayerNormRowsBackward`] on the CPU.

use pulp::{Simd, WithSimd};

use crate::cpu::access::{Accesses, elements};
use crate::cpu::layer_norm_rows::SlotMask;
use crate::cpu::parallel::for_rows;
use crate::cpu::row_norm::{Group, Moments, Sums, means};
use crate::cpu::run::{Context, Run};
use crate::cpu::simd::SLOTS;
use crate::cpu::vector::{Units, Vector};
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
        for_rows(normalised, units, 2, |row, normalised| {
            let row = Row {
                normalised,
                gradient: &gradient[row * units..][..units],
                scale,
                mask,
                deviation: deviation[row],
            };
            match mask.group() {
                Some(group) => context.arch.dispatch(Grouped { row, group }),
                None => row.one_by_one(),
            }
        });
        Ok(())
    }
}

/// A row, the gradient of what was made of it, and the scale in between.
struct Row<'a> {
    normalised: &'a mut [f32],
    gradient: &'a [f32],
    scale: &'a [f32],
    mask: SlotMask,
    deviation: f32,
}

impl Row<'_> {
    /// For any number of slots.
    fn one_by_one(self) {
        let scaled = |index: usize| self.scale[index] * self.gradient[index];
        normalisation_gradient(self.normalised, self.mask, self.deviation, scaled);
        for (index, value) in self.normalised.iter_mut().enumerate() {
            if !self.mask.has(index) {
                *value = 0.0;
            }
        }
    }
}

/// A row of units of one or four slots, vector by vector.
struct Grouped<'a> {
    row: Row<'a>,
    group: [bool; SLOTS],
}

impl WithSimd for Grouped<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.row.mask.slots {
            1 => self.of_one_slot(simd),
            _ => self.of_four_slots(simd),
        }
    }
}

impl Grouped<'_> {
    #[inline(always)]
    fn of_one_slot<S: Simd>(self, simd: S) {
        let (row, zero) = (self.row, Vector::splat(simd, 0.0));
        let hidden = row.normalised.len();
        let norm = Moments::of_normalised(simd, row.deviation);
        let mut totals = [Sums::new(simd); 2];
        for units in Units::of_row(simd, hidden) {
            let d = units.load(row.gradient) * units.load(row.scale);
            let product = d * units.load(row.normalised);
            totals[0].add(units, [d, zero, zero, zero]);
            totals[1].add(units, [product, zero, zero, zero]);
        }
        let means = means(totals, Group::Each, hidden);
        for units in Units::of_row(simd, hidden) {
            let d = units.load(row.gradient) * units.load(row.scale);
            let normalised = units.load(row.normalised);
            let raw = norm.gradient(0, [normalised, d], means);
            units.store(row.normalised, raw);
        }
    }

    #[inline(always)]
    fn of_four_slots<S: Simd>(self, simd: S) {
        let (row, zero) = (self.row, Vector::splat(simd, 0.0));
        let (hidden, group) = (row.normalised.len() / SLOTS, Group::Together(self.group));
        let norm = Moments::of_normalised(simd, row.deviation);
        let mut totals = [Sums::new(simd); 2];
        for units in Units::of_row(simd, hidden) {
            let (gradient, scale) = (units.load_slots(row.gradient), units.load_slots(row.scale));
            let (mut d, mut product) = (gradient, units.load_slots(row.normalised));
            for slot in 0..SLOTS {
                d[slot] = gradient[slot] * scale[slot];
                product[slot] = d[slot] * product[slot];
            }
            totals[0].add(units, d);
            totals[1].add(units, product);
        }
        let means = means(totals, group, hidden);
        for units in Units::of_row(simd, hidden) {
            let (gradient, scale) = (units.load_slots(row.gradient), units.load_slots(row.scale));
            let mut slots = units.load_slots(row.normalised);
            for slot in 0..SLOTS {
                slots[slot] = match self.group[slot] {
                    true => {
                        let d = gradient[slot] * scale[slot];
                        norm.gradient(slot, [slots[slot], d], means)
                    }
                    false => zero,
                };
            }
            units.store_slots(row.normalised, slots);
        }
    }
}

/// Replaces a row of normalised values by the gradient of the raw ones, where `gradient(index)` is that of the normalised
/// ones: `deviation * (d - mean(d) - normalised * mean(d * normalised))`. Elements outside of `mask` stay.
fn normalisation_gradient(
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
