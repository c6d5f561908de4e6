// c[row, column] = (accumulate ? c : 0) + the sum over splits of partials[split, row, column], in the order of the splits.
// One invocation an element.

struct Params {
    elements: u32,
    splits: u32,
    columns: u32,
    c_offset: u32,
    c_row: u32,
    c_column: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> partials: array<f32>;
@group(1) @binding(1) var<storage, read_write> c: array<C>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(group, groups, local, 256u);
    if index >= params.elements {
        return;
    }
    var sum = 0.0;
    for (var split = 0u; split < params.splits; split++) {
        sum += partials[split * params.elements + index];
    }
    let at = params.c_offset + index / params.columns * params.c_row + index % params.columns * params.c_column;
    if params.accumulate != 0u {
        sum += f32(c[at]);
    }
    c[at] = to_C(sum);
}
