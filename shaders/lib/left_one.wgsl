// The left factor number by number, wherever its rows begin: four terms of a row, zero from `k_end` on, or four rows of a
// term, the last one repeated.
fn a_terms(row_start: u32, k: u32, k_end: u32) -> vec4f {
    let terms = vec4u(k) + NEXT;
    let at = row_start + min(terms, vec4u(k_end - 1u));
    let values = vec4f(f32(a[at.x]), f32(a[at.y]), f32(a[at.z]), f32(a[at.w]));
    return select(vec4f(), values, terms < vec4u(k_end));
}

fn a_rows(first_row: u32, term: u32) -> vec4f {
    let at = params.a_offset + term * params.a_stride + min(vec4u(first_row) + NEXT, vec4u(params.m - 1u));
    return vec4f(f32(a[at.x]), f32(a[at.y]), f32(a[at.z]), f32(a[at.w]));
}
