// result[offset + i] = factor * sum of partials[i, 0 .. count]: the second stage of sums over many elements. One workgroup a
// sum; each invocation sums every 256th partial sum, then the workgroup sums these in a fixed order.

struct Params {
    count: u32,
    offset: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> partials: array<f32>;
@group(1) @binding(1) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var own = 0.0;
    for (var index = local; index < params.count; index += 256u) {
        own += partials[group.x * params.count + index];
    }
    let sum = workgroup_sum(own, local);
    if local == 0u {
        result[params.offset + group.x] = params.factor * sum;
    }
}
