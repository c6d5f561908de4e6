// gradient = 2 (prediction - expected) / len, and partials[group] = sum of (prediction - expected)^2 over the group's share
// of 0 .. len: the first stage, see sum_partials.wgsl. The invocations of all workgroups walk the elements side by side.

struct Params {
    prediction_offset: u32,
    expected_offset: u32,
    gradient_offset: u32,
    len: u32,
    // 2 / len
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> prediction: array<f32>;
@group(1) @binding(1) var<storage, read> expected: array<f32>;
@group(1) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(1) @binding(3) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var own = 0.0;
    for (var index = group.x * 256u + local; index < params.len; index += groups.x * 256u) {
        let difference = prediction[params.prediction_offset + index] - expected[params.expected_offset + index];
        gradient[params.gradient_offset + index] = difference * params.factor;
        own += difference * difference;
    }
    let sum = workgroup_sum(own, local);
    if local == 0u {
        partials[group.x] = sum;
    }
}
