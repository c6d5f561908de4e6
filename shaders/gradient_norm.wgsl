// Over the group's share of 0 .. len, each in a place of its own of partials[3, groups]: the sum of the squares of finite
// values, the same of the values times 2^-80, and how many values are not finite. The first stage, see sum_partials.wgsl.
// The invocations of all workgroups walk the elements side by side.

struct Params {
    offset: u32,
    len: u32,
    // 2^-80
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> values: array<f32>;
@group(1) @binding(1) var<storage, read_write> partials: array<f32>; // [3, groups]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var squares = 0.0;
    var scaled_squares = 0.0;
    var not_finite = 0.0;
    for (var index = group.x * 256u + local; index < params.len; index += groups.x * 256u) {
        let value = values[params.offset + index];
        if is_finite(value) {
            let scaled = value * params.scale;
            squares += value * value;
            scaled_squares += scaled * scaled;
        } else {
            not_finite += 1.0;
        }
    }
    squares = workgroup_sum(squares, local);
    scaled_squares = workgroup_sum(scaled_squares, local);
    not_finite = workgroup_sum(not_finite, local);
    if local == 0u {
        partials[group.x] = squares;
        partials[groups.x + group.x] = scaled_squares;
        partials[2u * groups.x + group.x] = not_finite;
    }
}
