//! Vectors of `f32` on the device's instruction set ([`Instructions`](super::Instructions)): the two
//! saturating functions, and rows that end within a vector.

use pulp::{Arch, Simd, WithSimd};

/// Slots of an LSTM's or a GRU's unit, as they lie in the rows of gates.
pub(super) const SLOTS: usize = 4;

/// More elements than any vector has.
pub(super) const MOST_LANES: usize = 16;

/// Elements of a vector of an instruction set.
pub(super) fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    arch.dispatch(Lanes)
}

/// `exp(x) = scale * (1 + p)` for `x <= 0`, as `[scale, p]`. Below -87 it is `exp(-87)`, which no sum with 1 sees.
///
/// `x = n ln 2 + r` with `ln 2` in two parts (Cody and Waite), then Cephes' polynomial in `r`.
#[inline(always)]
pub(super) fn exponential<S: Simd>(simd: S, x: S::f32s) -> [S::f32s; 2] {
    let constant = |value: f32| simd.splat_f32s(value);
    let lowest = constant(-87.0);
    // A NaN is not less than anything and goes on.
    let x = simd.select_f32s(simd.less_than_f32s(x, lowest), lowest, x);
    // Adding 1.5 * 2^23 rounds to a whole number, which is then in the low bits; 127 is the exponent's bias.
    let magic = constant(12_582_912.0 + 127.0);
    let shifted = simd.mul_add_e_f32s(x, constant(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    let r = simd.mul_add_e_f32s(n, constant(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, constant(2.121_944_4e-4), r);
    let mut series = constant(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        5e-1,
    ] {
        series = simd.mul_add_e_f32s(series, r, constant(coefficient));
    }
    let p = simd.mul_add_e_f32s(series, simd.mul_f32s(r, r), r);
    let exponent =
        simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    [simd.transmute_f32s_u32s(exponent), p]
}

/// `1 / (1 + exp(-x))`, within two units in the last place; NaN stays NaN.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let [scale, p] = exponential(simd, simd.neg_f32s(simd.abs_f32s(x)));
    let e = simd.mul_add_e_f32s(scale, p, scale);
    let one = simd.splat_f32s(1.0);
    let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    simd.div_f32s(simd.select_f32s(negative, e, one), simd.add_f32s(one, e))
}

/// The hyperbolic tangent, within three units in the last place; NaN stays NaN.
///
/// `-m / (2 + m)` with `m = exp(-2 |x|) - 1`, which the two parts of the exponential give without cancellation.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let [scale, p] = exponential(simd, simd.mul_f32s(simd.splat_f32s(-2.0), simd.abs_f32s(x)));
    let m = simd.mul_add_e_f32s(scale, p, simd.sub_f32s(scale, simd.splat_f32s(1.0)));
    let magnitude = simd.div_f32s(simd.neg_f32s(m), simd.add_f32s(simd.splat_f32s(2.0), m));
    let sign = simd.and_f32s(x, simd.splat_f32s(-0.0));
    simd.or_f32s(magnitude, sign)
}

/// Up to a vector's elements; those that are not there are zero.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values) {
        ([vector], []) => *vector,
        _ => simd.partial_load_f32s(values),
    }
}

/// Several vectors from consecutive elements; those that are not there are zero.
#[inline(always)]
pub(super) fn load_all<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V] {
    if let Some(whole) = S::as_simd_f32s(values).0.first_chunk() {
        return *whole;
    }
    let mut vectors = [simd.splat_f32s(0.0); V];
    for (vector, values) in vectors.iter_mut().zip(values.chunks(S::F32_LANES)) {
        *vector = load(simd, values);
    }
    vectors
}

/// Stores as many elements of several vectors as there is room for.
#[inline(always)]
pub(super) fn store_all<S: Simd, const V: usize>(
    simd: S,
    values: &mut [f32],
    vectors: [S::f32s; V],
) {
    if let Some(whole) = S::as_mut_simd_f32s(values).0.first_chunk_mut() {
        *whole = vectors;
        return;
    }
    for (values, vector) in values.chunks_mut(S::F32_LANES).zip(vectors) {
        store(simd, values, vector);
    }
}

/// Stores as many elements as there is room for.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, values: &mut [f32], vector: S::f32s) {
    match S::as_mut_simd_f32s(values) {
        ([place], []) => *place = vector,
        _ => simd.partial_store_f32s(values, vector),
    }
}

/// The slots of up to a vector of units, from `[units, slots]`; those of units that are not there are zero.
#[inline(always)]
pub(super) fn load_slots<S: Simd>(simd: S, values: &[f32]) -> [S::f32s; SLOTS] {
    if values.len() == SLOTS * S::F32_LANES {
        return split_slots::<S>(simd, values);
    }
    let mut whole = [0.0; SLOTS * MOST_LANES];
    whole[..values.len()].copy_from_slice(values);
    split_slots::<S>(simd, &whole[..SLOTS * S::F32_LANES])
}

#[inline(always)]
fn split_slots<S: Simd>(simd: S, values: &[f32]) -> [S::f32s; SLOTS] {
    // The compiler turns this loop of known length into shuffles.
    let mut slots = [[0.0; MOST_LANES]; SLOTS];
    for (unit, values) in values.as_chunks::<SLOTS>().0.iter().enumerate() {
        for slot in 0..SLOTS {
            slots[slot][unit] = values[slot];
        }
    }
    let mut vectors = [simd.splat_f32s(0.0); SLOTS];
    for slot in 0..SLOTS {
        vectors[slot] = S::as_simd_f32s(&slots[slot]).0[0];
    }
    vectors
}

/// The reverse of [`load_slots`].
#[inline(always)]
pub(super) fn store_slots<S: Simd>(_: S, values: &mut [f32], vectors: [S::f32s; SLOTS]) {
    let mut slots = [[0.0; MOST_LANES]; SLOTS];
    for slot in 0..SLOTS {
        S::as_mut_simd_f32s(&mut slots[slot]).0[0] = vectors[slot];
    }
    for (unit, values) in values.as_chunks_mut::<SLOTS>().0.iter_mut().enumerate() {
        for slot in 0..SLOTS {
            values[slot] = slots[slot][unit];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Instructions;

    /// Every instruction set that this processor has.
    fn sets() -> Vec<Arch> {
        let sets = Instructions::available().into_iter();
        sets.filter_map(Instructions::arch).collect()
    }

    /// Applies a function of vectors to elements.
    struct Apply<'a>(&'a mut [f32], bool);

    impl WithSimd for Apply<'_> {
        type Output = ();
        fn with_simd<S: Simd>(self, simd: S) {
            for values in self.0.chunks_mut(S::F32_LANES) {
                let x = load(simd, values);
                let y = if self.1 {
                    sigmoid(simd, x)
                } else {
                    tanh(simd, x)
                };
                store(simd, values, y);
            }
        }
    }

    /// The largest error in units in the last place, over every thousandth `f32` there is; less `exp(-87)`.
    fn worst(arch: Arch, is_sigmoid: bool, exact: impl Fn(f64) -> f64) -> f64 {
        let x: Vec<f32> = (0..u32::MAX / 1009)
            .map(|index| f32::from_bits(index * 1009))
            .filter(|x| !x.is_nan())
            .collect();
        let mut y = x.clone();
        arch.dispatch(Apply(&mut y, is_sigmoid));
        let error = |(&x, &y): (&f32, &f32)| {
            let exact = exact(x.into());
            // Beside the units in the last place, what the exponential's lower end may add.
            let beyond = (f64::from(y) - exact).abs() - 1.7e-38;
            beyond.max(0.0) / (f64::from(f32::EPSILON) * exact.abs()).max(f64::MIN_POSITIVE)
        };
        x.iter().zip(&y).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn both_functions_are_exact_to_the_last_places_everywhere() {
        for arch in sets() {
            let logistic = worst(arch, true, |x| {
                let e = (-x.abs()).exp();
                if x < 0.0 {
                    e / (1.0 + e)
                } else {
                    1.0 / (1.0 + e)
                }
            });
            let tangent = worst(arch, false, f64::tanh);
            println!("{arch:?}: sigmoid {logistic:.2}, tanh {tangent:.2} units in the last place");
            assert!(logistic <= 2.0, "sigmoid is off by {logistic}");
            assert!(tangent <= 3.0, "tanh is off by {tangent}");
        }
    }

    #[test]
    fn not_a_number_stays_so() {
        for arch in sets() {
            for is_sigmoid in [true, false] {
                let mut values = [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
                arch.dispatch(Apply(&mut values, is_sigmoid));
                assert!(values[0].is_nan());
                assert!(values[1..].iter().all(|value| value.is_finite()));
                assert_eq!(values[2], 1.0);
            }
        }
    }

    #[test]
    fn slots_come_back_as_they_were() {
        struct Through<'a>(&'a [f32], &'a mut [f32]);
        impl WithSimd for Through<'_> {
            type Output = ();
            fn with_simd<S: Simd>(self, simd: S) {
                let Self(from, to) = self;
                let most = SLOTS * S::F32_LANES;
                for (from, to) in from.chunks(most).zip(to.chunks_mut(most)) {
                    let slots = load_slots(simd, from);
                    let mut first = [0.0; MOST_LANES];
                    store(simd, &mut first[..S::F32_LANES], slots[0]);
                    assert_eq!(first[0], from[0]);
                    store_slots(simd, to, slots);
                }
            }
        }
        for arch in sets() {
            for units in [1, 3, 8, 21] {
                let from: Vec<f32> = (0..units * SLOTS).map(|value| value as f32).collect();
                let mut to = vec![-1.0; from.len()];
                arch.dispatch(Through(&from, &mut to));
                assert_eq!(to, from);
            }
        }
    }
}
