// output[token] = concat or sum over directions of states[row(token)], plus residual[token]; row(token) is table[token] for
// a direction that runs backwards, else token. One invocation a value of the output, one or four numbers (lib/value_*.wgsl).

struct Params {
    first_offset: u32,
    second_offset: u32,
    output_offset: u32,
    residual_offset: u32,
    table_offset: u32,
    width: u32,
    output_width: u32,
    elements: u32,
    // Bits 0 and 1: which directions there are; bits 2 and 3: which of them run backwards.
    directions: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> first: array<First>;
@group(1) @binding(1) var<storage, read> second: array<Second>;
@group(1) @binding(2) var<storage, read> residual: array<Residual>;
@group(1) @binding(3) var<storage, read> table: array<u32>;
@group(1) @binding(4) var<storage, read_write> output: array<Output>;

override HAS_RESIDUAL: bool = false;

fn row(token: u32, direction: u32) -> u32 {
    if (params.directions & (4u << direction)) != 0u {
        return table[params.table_offset + token];
    }
    return token;
}

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
    let token = index / params.output_width;
    let column = index % params.output_width;
    let unit = column % params.width;
    // Side by side a column belongs to one direction, else to all.
    var wanted = params.directions & 3u;
    if params.output_width != params.width {
        wanted &= 1u << (column / params.width);
    }
    var value = Value();
    if (wanted & 1u) != 0u {
        value = Value(first[params.first_offset + row(token, 0u) * params.width + unit]);
    }
    if (wanted & 2u) != 0u {
        value += Value(second[params.second_offset + row(token, 1u) * params.width + unit]);
    }
    if HAS_RESIDUAL {
        value += Value(residual[params.residual_offset + index]);
    }
    output[params.output_offset + index] = to_Output(value);
}
