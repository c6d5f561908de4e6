// result[i] = a[i], result[i] + a[i] or a[i] * b[i]; one invocation an element.

struct Params {
    a_offset: u32,
    b_offset: u32,
    result_offset: u32,
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<f32>;
@group(1) @binding(1) var<storage, read> b: array<f32>;
@group(1) @binding(2) var<storage, read_write> result: array<f32>;

// 0: copy, 1: accumulate, 2: multiply
override KIND: u32 = 0u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(group, groups, local, 256u);
    if index >= params.len {
        return;
    }
    let destination = params.result_offset + index;
    var value = a[params.a_offset + index];
    if KIND == 1u {
        value += result[destination];
    }
    if KIND == 2u {
        value *= b[params.b_offset + index];
    }
    result[destination] = value;
}
