//! A vector of `f32` as one of the numbers that cells compute with, and the vectors of a row.

use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::Simd;

use crate::cell::{Number, Real};
use crate::config::Activation;
use crate::cpu::simd::{
    self, MOST_LANES, SLOTS, exponential, load, load_slots, store, store_slots,
};

/// As many numbers as an instruction set has in a vector. Only for work that was dispatched to that set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector<S: Simd> {
    pub(super) simd: S,
    pub(super) values: S::f32s,
}

impl<S: Simd> Vector<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, values: S::f32s) -> Self {
        Self { simd, values }
    }

    /// The same number everywhere.
    #[inline(always)]
    pub(super) fn splat(simd: S, value: f32) -> Self {
        Self::new(simd, simd.splat_f32s(value))
    }

    /// The first of them.
    #[inline(always)]
    pub(super) fn first(self) -> f32 {
        let mut numbers = [0.0; MOST_LANES];
        store(self.simd, &mut numbers[..S::F32_LANES], self.values);
        numbers[0]
    }

    /// The sum of all.
    #[inline(always)]
    pub(super) fn sum(self) -> f32 {
        self.simd.reduce_sum_f32s(self.values)
    }
}

impl<S: Simd> Add for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.add_f32s(self.values, other.values))
    }
}

impl<S: Simd> Sub for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.sub_f32s(self.values, other.values))
    }
}

impl<S: Simd> Mul for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.mul_f32s(self.values, other.values))
    }
}

impl<S: Simd> Div for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.div_f32s(self.values, other.values))
    }
}

impl<S: Simd> Neg for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        Self::new(self.simd, self.simd.neg_f32s(self.values))
    }
}

impl<S: Simd> Number for Vector<S> {
    type Truth = S::m32s;

    #[inline(always)]
    fn constant(self, value: f64) -> Self {
        Self::splat(self.simd, value as f32)
    }

    #[inline(always)]
    fn is_below(self, other: Self) -> S::m32s {
        self.simd.less_than_f32s(self.values, other.values)
    }

    #[inline(always)]
    fn is_at_most(self, other: Self) -> S::m32s {
        self.simd.less_than_or_equal_f32s(self.values, other.values)
    }

    #[inline(always)]
    fn choose(truth: S::m32s, yes: Self, no: Self) -> Self {
        let simd = yes.simd;
        Self::new(simd, simd.select_f32s(truth, yes.values, no.values))
    }

    #[inline(always)]
    fn exp(self) -> Self {
        let [scale, p] = exponential(self.simd, self.values);
        Self::new(self.simd, self.simd.mul_add_e_f32s(scale, p, scale))
    }

    /// One by one: only the softplus, which few use, asks for it.
    #[inline(always)]
    fn ln_1p(self) -> Self {
        let mut numbers = [0.0; MOST_LANES];
        let numbers = &mut numbers[..S::F32_LANES];
        store(self.simd, numbers, self.values);
        for number in numbers.iter_mut() {
            *number = number.ln_1p();
        }
        Self::new(self.simd, load(self.simd, numbers))
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        Self::new(self.simd, simd::tanh(self.simd, self.values))
    }
}

impl<S: Simd> Real for Vector<S> {
    #[inline(always)]
    fn activate(self, activation: Activation) -> Self {
        match activation {
            Activation::Sigmoid => Self::new(self.simd, simd::sigmoid(self.simd, self.values)),
            Activation::Tanh => self.tanh(),
            _ => self.activate_one_by_one(activation)[0],
        }
    }

    #[inline(always)]
    fn activate_with_slope(self, activation: Activation) -> [Self; 2] {
        let one = self.constant(1.0);
        let value = match activation {
            Activation::Sigmoid | Activation::Tanh => self.activate(activation),
            _ => return self.activate_one_by_one(activation),
        };
        let slope = match activation {
            // Of `1 / (1 + e^-x)` and `tanh(x)`, as duals would find them.
            Activation::Sigmoid => value * (one - value),
            _ => one - value * value,
        };
        [value, slope]
    }
}

impl<S: Simd> Vector<S> {
    /// An activation that few use, and its slope: they are not worth code for each instruction set at each place.
    #[inline(always)]
    fn activate_one_by_one(self, activation: Activation) -> [Self; 2] {
        let mut numbers = [[0.0; MOST_LANES]; 2];
        store(self.simd, &mut numbers[0][..S::F32_LANES], self.values);
        one_by_one(activation, &mut numbers);
        let [values, slopes] = &numbers;
        [
            Self::new(self.simd, load(self.simd, &values[..S::F32_LANES])),
            Self::new(self.simd, load(self.simd, &slopes[..S::F32_LANES])),
        ]
    }
}

#[inline(never)]
fn one_by_one(activation: Activation, [numbers, slopes]: &mut [[f32; MOST_LANES]; 2]) {
    for (number, slope) in numbers.iter_mut().zip(slopes) {
        [*number, *slope] = number.activate_with_slope(activation);
    }
}

/// A vector's units of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units<S> {
    pub(super) simd: S,
    pub(super) first: usize,
    end: usize,
}

impl<S: Simd> Units<S> {
    /// Those of a row of `width` units, one vector after the other.
    #[inline(always)]
    pub(super) fn of_row(simd: S, width: usize) -> impl Iterator<Item = Self> {
        (0..width).step_by(S::F32_LANES).map(move |first| Self {
            simd,
            first,
            end: width.min(first + S::F32_LANES),
        })
    }

    /// The units' elements of a row; those that are not there are zero.
    #[inline(always)]
    pub(super) fn load(self, row: &[f32]) -> Vector<S> {
        Vector::new(self.simd, load(self.simd, &row[self.first..self.end]))
    }

    /// Likewise, or zeros if there is no row.
    #[inline(always)]
    pub(super) fn load_optional(self, row: &[f32]) -> Vector<S> {
        match row.is_empty() {
            true => Vector::splat(self.simd, 0.0),
            false => self.load(row),
        }
    }

    #[inline(always)]
    pub(super) fn store(self, row: &mut [f32], vector: Vector<S>) {
        store(self.simd, &mut row[self.first..self.end], vector.values);
    }

    /// Adds to the elements of a row, if there is one.
    #[inline(always)]
    pub(super) fn add(self, row: &mut [f32], vector: Vector<S>) {
        if !row.is_empty() {
            let sum = self.load(row) + vector;
            self.store(row, sum);
        }
    }

    /// The slots of the units, from a row `[units, slots]`.
    #[inline(always)]
    pub(super) fn load_slots(self, row: &[f32]) -> [Vector<S>; SLOTS] {
        let slots = load_slots(self.simd, &row[SLOTS * self.first..SLOTS * self.end]);
        let mut vectors = [Vector::splat(self.simd, 0.0); SLOTS];
        for slot in 0..SLOTS {
            vectors[slot].values = slots[slot];
        }
        vectors
    }

    #[inline(always)]
    pub(super) fn store_slots(self, row: &mut [f32], vectors: [Vector<S>; SLOTS]) {
        let mut slots = [self.simd.splat_f32s(0.0); SLOTS];
        for slot in 0..SLOTS {
            slots[slot] = vectors[slot].values;
        }
        store_slots(
            self.simd,
            &mut row[SLOTS * self.first..SLOTS * self.end],
            slots,
        );
    }

    /// Adds to the slots of a row, if there is one.
    #[inline(always)]
    pub(super) fn add_slots(self, row: &mut [f32], vectors: [Vector<S>; SLOTS]) {
        if row.is_empty() {
            return;
        }
        let mut sums = self.load_slots(row);
        for slot in 0..SLOTS {
            sums[slot] = sums[slot] + vectors[slot];
        }
        self.store_slots(row, sums);
    }

    /// A whole vector of its own.
    #[inline(always)]
    pub(super) fn whole(self, values: &[f32]) -> Vector<S> {
        Vector::new(self.simd, load(self.simd, values))
    }

    /// A whole vector at the units' place, past the end of what they are part of if the row goes on.
    #[inline(always)]
    pub(super) fn store_whole(self, row: &mut [f32], vector: Vector<S>) {
        let place = &mut row[self.first..self.first + S::F32_LANES];
        store(self.simd, place, self.only(vector).values);
    }

    /// The numbers of units that are there, else zero.
    #[inline(always)]
    pub(super) fn only(self, vector: Vector<S>) -> Vector<S> {
        if self.end - self.first == S::F32_LANES {
            return vector;
        }
        let mut numbers = [0.0; MOST_LANES];
        store(
            self.simd,
            &mut numbers[..self.end - self.first],
            vector.values,
        );
        Vector::new(self.simd, load(self.simd, &numbers[..S::F32_LANES]))
    }
}
