// One step of Adam (Kingma and Ba 2015, in PyTorch's form) with clipping by the global norm; one invocation a parameter:
//   g = gradient * min(1, max_norm / (sqrt(squared_norm) + 1e-6))
//   m = b1 m + (1 - b1) g
//   v = b2 v + (1 - b2) g^2
//   p = p - rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)

struct Params {
    parameters_offset: u32,
    gradients_offset: u32,
    moments_offset: u32,
    squared_norm_offset: u32,
    settings_offset: u32,
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> parameters: array<f32>;
@group(1) @binding(1) var<storage, read> gradients: array<f32>;
@group(1) @binding(2) var<storage, read_write> moments: array<f32>; // [2, len]
@group(1) @binding(3) var<storage, read> squared_norm: array<f32>;
// rate, b1, b2, epsilon, 1 - b1^t, sqrt(1 - b2^t), largest norm (0: none), unused
@group(1) @binding(4) var<storage, read> settings: array<f32>;

fn setting(index: u32) -> f32 {
    return settings[params.settings_offset + index];
}

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
    var g = gradients[params.gradients_offset + index];
    let max_norm = setting(6u);
    if max_norm > 0.0 {
        g *= min(1.0, max_norm / (sqrt(squared_norm[params.squared_norm_offset]) + 1e-6));
    }
    let first = params.moments_offset + index;
    let second = first + params.len;
    let b1 = setting(1u);
    let b2 = setting(2u);
    let m = b1 * moments[first] + (1.0 - b1) * g;
    let v = b2 * moments[second] + (1.0 - b2) * g * g;
    moments[first] = m;
    moments[second] = v;
    let rate = setting(0u) / setting(4u);
    parameters[params.parameters_offset + index] -= rate * m / (sqrt(v) / setting(5u) + setting(3u));
}
