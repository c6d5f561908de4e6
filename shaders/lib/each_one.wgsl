// For a value of one number: what the shader makes of a number, `activated` and `slope`.
fn activated_each(x: f32) -> f32 {
    return activated(x);
}

fn slope_each(x: f32) -> f32 {
    return slope(x);
}

// The result, or x where that is NaN.
fn or_nan(result: f32, x: f32) -> f32 {
    return select(result, x, is_nan(x));
}
