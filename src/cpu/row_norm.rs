//! Normalisation of rows that are gone through vector by vector.

use pulp::Simd;

use crate::cpu::simd::SLOTS;
use crate::cpu::vector::{Units, Vector};

/// Which of a unit's slots are normalised as one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    /// Each by itself.
    Each,
    /// Those for which it is true, all of a row's units together.
    Together([bool; SLOTS]),
}

/// Sums over a row for each slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums<S: Simd> {
    /// Of up to [`BLOCK`] vectors each.
    block: [Vector<S>; SLOTS],
    len: usize,
    /// Of the blocks before.
    total: [f64; SLOTS],
}

/// Vectors that are added up in single precision: the error of a sum does not grow with the row.
const BLOCK: usize = 16;

impl<S: Simd> Sums<S> {
    #[inline(always)]
    pub(super) fn new(simd: S) -> Self {
        Self {
            block: [Vector::splat(simd, 0.0); SLOTS],
            len: 0,
            total: [0.0; SLOTS],
        }
    }

    /// Adds what `units` have.
    #[inline(always)]
    pub(super) fn add(&mut self, units: Units<S>, slots: [Vector<S>; SLOTS]) {
        if self.len == BLOCK {
            self.end_block();
        }
        for (sum, value) in self.block.iter_mut().zip(slots) {
            *sum = *sum + units.only(value);
        }
        self.len += 1;
    }

    #[inline(always)]
    fn end_block(&mut self) {
        for slot in 0..SLOTS {
            self.total[slot] += f64::from(self.block[slot].sum());
            self.block[slot] = Vector::splat(self.block[slot].simd, 0.0);
        }
        self.len = 0;
    }

    /// The means over a row of `hidden` units, for each slot that of its group.
    #[inline(always)]
    pub(super) fn means(mut self, group: Group, hidden: usize) -> [f64; SLOTS] {
        self.end_block();
        let mut means = self.total;
        let together = match group {
            Group::Each => {
                for mean in &mut means {
                    *mean /= hidden as f64;
                }
                return means;
            }
            Group::Together(slots) => slots,
        };
        let (mut sum, mut count) = (0.0, 0);
        for (total, belongs) in self.total.into_iter().zip(together) {
            if belongs {
                sum += total;
                count += hidden;
            }
        }
        [sum / count as f64; SLOTS]
    }
}

/// Mean and `1 / sqrt(variance + epsilon)` of each slot's group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments<S: Simd> {
    mean: [Vector<S>; SLOTS],
    deviation: [Vector<S>; SLOTS],
}

impl<S: Simd> Moments<S> {
    /// Of the slots of a row, `[hidden, slots]`.
    #[inline(always)]
    pub(super) fn of_slots(
        simd: S,
        row: &[f32],
        (hidden, group, epsilon): (usize, Group, f64),
    ) -> Self {
        let mut sums = Sums::new(simd);
        for units in Units::of_row(simd, hidden) {
            sums.add(units, units.load_slots(row));
        }
        let mean = splat(simd, sums.means(group, hidden));
        // A second pass: the variance is a sum of squares of differences.
        let mut squares = Sums::new(simd);
        for units in Units::of_row(simd, hidden) {
            let mut differences = units.load_slots(row);
            for slot in 0..SLOTS {
                let difference = differences[slot] - mean[slot];
                differences[slot] = difference * difference;
            }
            squares.add(units, differences);
        }
        let variance = squares.means(group, hidden);
        Self {
            mean,
            deviation: splat(simd, deviations(variance, epsilon)),
        }
    }

    /// Of a row, `[hidden]`, as that of the first slot.
    #[inline(always)]
    pub(super) fn of_row(simd: S, row: &[f32], epsilon: f64) -> Self {
        let zero = Vector::splat(simd, 0.0);
        let mut sums = Sums::new(simd);
        for units in Units::of_row(simd, row.len()) {
            sums.add(units, [units.load(row), zero, zero, zero]);
        }
        let mean = splat(simd, sums.means(Group::Each, row.len()));
        let mut squares = Sums::new(simd);
        for units in Units::of_row(simd, row.len()) {
            let difference = units.load(row) - mean[0];
            squares.add(units, [difference * difference, zero, zero, zero]);
        }
        let variance = squares.means(Group::Each, row.len());
        Self {
            mean,
            deviation: splat(simd, deviations(variance, epsilon)),
        }
    }

    /// Of values that are normalised already, their deviation known: for their gradient.
    #[inline(always)]
    pub(super) fn of_normalised(simd: S, deviation: f32) -> Self {
        Self {
            mean: splat(simd, [0.0; SLOTS]),
            deviation: splat(simd, [f64::from(deviation); SLOTS]),
        }
    }

    /// `1 / sqrt(variance + epsilon)` of the first slot's group.
    #[inline(always)]
    pub(super) fn deviation(&self) -> f32 {
        self.deviation[0].first()
    }

    /// A value with mean 0 and variance 1.
    #[inline(always)]
    pub(super) fn normalised(&self, slot: usize, value: Vector<S>) -> Vector<S> {
        (value - self.mean[slot]) * self.deviation[slot]
    }

    /// The gradient of the raw value: `deviation * (d - mean(d) - normalised * mean(d * normalised))`, from that of the
    /// normalised one and the two means.
    #[inline(always)]
    pub(super) fn gradient(
        &self,
        slot: usize,
        [normalised, d]: [Vector<S>; 2],
        [mean, product]: Means<S>,
    ) -> Vector<S> {
        self.deviation[slot] * (d - mean[slot] - normalised * product[slot])
    }
}

/// Means of the gradients of normalised values, and of their products with the values.
pub(super) type Means<S> = [[Vector<S>; SLOTS]; 2];

/// The means of two sums.
#[inline(always)]
pub(super) fn means<S: Simd>(sums: [Sums<S>; 2], group: Group, hidden: usize) -> Means<S> {
    let simd = sums[0].block[0].simd;
    [
        splat(simd, sums[0].means(group, hidden)),
        splat(simd, sums[1].means(group, hidden)),
    ]
}

#[inline(always)]
fn deviations(variances: [f64; SLOTS], epsilon: f64) -> [f64; SLOTS] {
    let mut deviations = variances;
    for deviation in &mut deviations {
        *deviation = 1.0 / (*deviation + epsilon).sqrt();
    }
    deviations
}

/// A number for each slot.
#[inline(always)]
fn splat<S: Simd>(simd: S, values: [f64; SLOTS]) -> [Vector<S>; SLOTS] {
    let mut vectors = [Vector::splat(simd, 0.0); SLOTS];
    for slot in 0..SLOTS {
        vectors[slot] = Vector::splat(simd, values[slot] as f32);
    }
    vectors
}
