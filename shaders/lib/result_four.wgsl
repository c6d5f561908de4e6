// The result and its bias in vec4s, which their offsets and strides count.
fn store_columns(row_start: u32, column: u32, sums: vec4f) {
    let at = row_start + column / 4u;
    var value = sums;
    if HAS_BIAS {
        value += vec4f(bias[params.bias + column / 4u]);
    }
    if params.accumulate != 0u {
        value += vec4f(c[at]);
    }
    c[at] = to_C(value);
}
