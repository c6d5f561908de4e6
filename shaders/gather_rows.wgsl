// result[i * result_stride + j] = source[table[i] * source_stride + j]; one invocation an element.

struct Params {
    source_offset: u32,
    source_stride: u32,
    result_offset: u32,
    result_stride: u32,
    table_offset: u32,
    width: u32,
    elements: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> source: array<f32>;
@group(1) @binding(1) var<storage, read> table: array<u32>;
@group(1) @binding(2) var<storage, read_write> result: array<f32>;

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
    let column = index % params.width;
    let origin = params.source_offset + table[params.table_offset + row] * params.source_stride + column;
    result[params.result_offset + row * params.result_stride + column] = source[origin];
}
