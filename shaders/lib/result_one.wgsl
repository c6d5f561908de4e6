// The result and its bias number by number, wherever rows begin and end.
fn store_columns(row_start: u32, first_column: u32, sums: vec4f) {
    for (var lane = 0u; lane < min(4u, params.n - first_column); lane++) {
        let column = first_column + lane;
        var value = sums[lane];
        if HAS_BIAS {
            value += f32(bias[params.bias + column]);
        }
        if params.accumulate != 0u {
            value += f32(c[row_start + column]);
        }
        c[row_start + column] = to_C(value);
    }
}
