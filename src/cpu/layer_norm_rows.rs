//! [`LayerNormRows`] on the CPU.

use pulp::{Simd, WithSimd};

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::parallel::{Lane, for_lanes};
use crate::cpu::row_norm::{Group, Moments};
use crate::cpu::run::{Context, Run};
use crate::cpu::simd::SLOTS;
use crate::cpu::vector::{Units, Vector};
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

    /// The slots that belong, where a unit has one or four: what is done vector by vector.
    pub(super) fn group(self) -> Option<[bool; SLOTS]> {
        let belongs = |slot: u32| self.mask >> slot & 1 == 1;
        matches!(self.slots, 1 | SLOTS).then(|| [0, 1, 2, 3].map(belongs))
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
            for_lanes(lanes, self.rows, 2 * units, &|_, [values, deviation]| {
                let row = Row {
                    values,
                    scale,
                    bias,
                    mask,
                    epsilon: f64::from(self.epsilon),
                };
                deviation[0] = match mask.group() {
                    Some(group) => context.arch.dispatch(Grouped { row, group }),
                    None => row.one_by_one(),
                };
            });
        })
    }
}

/// A row, and what it is multiplied with and moved by once it is normalised.
struct Row<'a> {
    values: &'a mut [f32],
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    mask: SlotMask,
    epsilon: f64,
}

impl Row<'_> {
    /// For any number of slots.
    fn one_by_one(self) -> f32 {
        let deviation = self.mask.normalise(self.values, self.epsilon);
        for (index, value) in self.values.iter_mut().enumerate() {
            let bias = self.bias.map_or(0.0, |bias| bias[index]);
            *value = match self.mask.has(index) {
                true => *value * self.scale.map_or(1.0, |scale| scale[index]) + bias,
                false => bias,
            };
        }
        deviation
    }
}

/// A row of units of one or four slots, vector by vector; the result is its deviation.
struct Grouped<'a> {
    row: Row<'a>,
    group: [bool; SLOTS],
}

impl WithSimd for Grouped<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let Row {
            values,
            scale,
            bias,
            mask,
            epsilon,
        } = self.row;
        if mask.slots == 1 {
            let norm = Moments::of_row(simd, values, epsilon);
            for units in Units::of_row(simd, values.len()) {
                let mut value = norm.normalised(0, units.load(values));
                if let Some(scale) = scale {
                    value = value * units.load(scale);
                }
                if let Some(bias) = bias {
                    value = value + units.load(bias);
                }
                units.store(values, value);
            }
            return norm.deviation();
        }
        let hidden = values.len() / SLOTS;
        let norm = Moments::of_slots(simd, values, (hidden, Group::Together(self.group), epsilon));
        for units in Units::of_row(simd, hidden) {
            let mut slots = units.load_slots(values);
            let zero = Vector::splat(simd, 0.0);
            for (slot, value) in slots.iter_mut().enumerate() {
                *value = match self.group[slot] {
                    true => norm.normalised(slot, *value),
                    false => zero,
                };
            }
            if let Some(scale) = scale {
                let scale = units.load_slots(scale);
                for slot in 0..SLOTS {
                    slots[slot] = slots[slot] * scale[slot];
                }
            }
            if let Some(bias) = bias {
                let bias = units.load_slots(bias);
                for slot in 0..SLOTS {
                    slots[slot] = slots[slot] + bias[slot];
                }
            }
            units.store_slots(values, slots);
        }
        norm.deviation()
    }
}
