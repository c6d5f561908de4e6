// Numbers by their bits, because WGSL lets a compiler assume that there are no NaN; the twin of src/cpu/number.rs.

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// The whole number below `bound` that `value` is, else `bound`: for a fraction, a negative number, a NaN, one too large.
fn whole_below(value: f32, bound: u32) -> u32 {
    // From 2^24 on not every whole number is an f32; the bits of negative numbers and of NaN are larger still.
    if bitcast<u32>(value) >= 0x4b800000u {
        return bound;
    }
    let number = u32(value);
    return select(bound, number, number < bound && f32(number) == value);
}
