// The backward of merge_directions.wgsl for one direction: states[row] = output[token(row), column ..], where token(row) is
// table[row] for a direction that runs backwards (the permutation is its own inverse), else row. One invocation a value of the
// states, one or four numbers (lib/value_*.wgsl).

struct Params {
    states_offset: u32,
    output_offset: u32,
    table_offset: u32,
    width: u32,
    output_width: u32,
    // First column of the direction in the output.
    column: u32,
    elements: u32,
    reverse: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> output: array<Value>;
@group(1) @binding(1) var<storage, read> table: array<u32>;
@group(1) @binding(2) var<storage, read_write> states: array<Value>;

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
    var token = index / params.width;
    if params.reverse != 0u {
        token = table[params.table_offset + token];
    }
    let column = params.column + index % params.width;
    states[params.states_offset + index] = output[params.output_offset + token * params.output_width + column];
}
