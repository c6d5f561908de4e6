// Whether a number is one, by its bits: compilers may take for granted that there is neither infinity nor NaN.
fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}
