//! Whole numbers in `f32`: the twin of `shaders/lib/number.wgsl`.

/// The whole number below `bound` that `value` is; `None` for a fraction, a negative number (-0 too), a NaN, one too large.
pub(super) fn whole_below(value: f32, bound: usize) -> Option<usize> {
    // From 2^24 on not every whole number is an f32; the bits of negative numbers and of NaN are larger still.
    if value.to_bits() >= 16_777_216f32.to_bits() {
        return None;
    }
    let number = value as usize;
    (number < bound && number as f32 == value).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::whole_below;

    #[test]
    fn only_whole_numbers_below_the_bound() {
        for number in [0, 1, 7, 999, 16_777_215] {
            assert_eq!(whole_below(number as f32, number + 1), Some(number));
            assert_eq!(whole_below(number as f32, number), None);
        }
        let others = [-0.0, -1.0, 0.5, 1e-40, 16_777_216.0, 3e38, f32::NAN];
        for other in others.into_iter().chain([f32::INFINITY, -f32::NAN]) {
            assert_eq!(whole_below(other, usize::MAX), None, "{other}");
        }
    }
}
