// For each number of a value of four: what the shader makes of a number, `activated` and `slope`.
fn activated_each(x: vec4f) -> vec4f {
    return vec4f(activated(x.x), activated(x.y), activated(x.z), activated(x.w));
}

fn slope_each(x: vec4f) -> vec4f {
    return vec4f(slope(x.x), slope(x.y), slope(x.z), slope(x.w));
}

// The result, or x where that is NaN.
fn or_nan(result: vec4f, x: vec4f) -> vec4f {
    return select(result, x, vec4<bool>(is_nan(x.x), is_nan(x.y), is_nan(x.z), is_nan(x.w)));
}
