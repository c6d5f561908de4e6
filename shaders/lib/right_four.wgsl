// The right factor in vec4s, which its offsets and strides count: four terms of a column, or four columns of a term.
alias Weights = vec4f;

fn b_terms(column: u32, k: u32, k_end: u32) -> vec4f {
    return weight_at(params.b_offset + column * params.b_stride + k / 4u);
}

fn b_columns(first_column: u32, term: u32) -> vec4f {
    return weight_at(params.b_offset + term * params.b_stride + first_column / 4u);
}
