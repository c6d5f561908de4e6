// The backward of pool_rows.wgsl. Of a mean, result[row] = gradient[sequence] / length; of a maximum it is
// gradient[sequence] where the row's step is the winner, else 0. One invocation an element.

struct Params {
    gradient_offset: u32,
    winners_offset: u32,
    result_offset: u32,
    width: u32,
    elements: u32,
    // In the table, for each row: its sequence, and the sequence's length or the row's step
    sequences: u32,
    numbers: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> table: array<u32>;
@group(1) @binding(1) var<storage, read> gradient: array<f32>;
@group(1) @binding(2) var<storage, read> winners: array<f32>;
@group(1) @binding(3) var<storage, read_write> result: array<f32>;

// 0: mean, 1: maximum
override KIND: u32 = 0u;

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
    let row = index / params.width;
    let at = table[params.sequences + row] * params.width + index % params.width;
    let number = f32(table[params.numbers + row]);
    var d_value = gradient[params.gradient_offset + at];
    if KIND == 1u {
        d_value = select(0.0, d_value, winners[params.winners_offset + at] == number);
    } else {
        d_value /= number;
    }
    result[params.result_offset + index] = d_value;
}
