// The right factor number by number, wherever its rows begin: four terms of a column, zero from `k_end` on, or four columns of
// a term, the last one repeated.
alias Weights = f32;

fn b_terms(column: u32, k: u32, k_end: u32) -> vec4f {
    let terms = vec4u(k) + NEXT;
    let at = params.b_offset + column * params.b_stride + min(terms, vec4u(k_end - 1u));
    let values = vec4f(weight_at(at.x), weight_at(at.y), weight_at(at.z), weight_at(at.w));
    return select(vec4f(), values, terms < vec4u(k_end));
}

fn b_columns(first_column: u32, term: u32) -> vec4f {
    let at = params.b_offset + term * params.b_stride + min(vec4u(first_column) + NEXT, vec4u(params.n - 1u));
    return vec4f(weight_at(at.x), weight_at(at.y), weight_at(at.z), weight_at(at.w));
}
