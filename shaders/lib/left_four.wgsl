// The left factor in vec4s, which its offsets and strides count: four terms of a row, or four rows of a term.
fn a_terms(row_start: u32, k: u32, k_end: u32) -> vec4f {
    return vec4f(a[row_start + k / 4u]);
}

fn a_rows(first_row: u32, term: u32) -> vec4f {
    return vec4f(a[params.a_offset + term * params.a_stride + min(first_row, params.m - 4u) / 4u]);
}
