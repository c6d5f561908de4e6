// Storage in half precision. Beyond its largest number a stored value would be infinite, and 0 times that not a number: it
// stays the largest instead, which every saturating gate takes for the same. NaN stays NaN.

fn to_half(x: f32) -> f16 {
    return f16(select(select(x, -65504.0, x < -65504.0), 65504.0, x > 65504.0));
}
