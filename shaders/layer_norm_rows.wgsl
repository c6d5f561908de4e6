// Normalises rows [hidden, slots] in place: v = (v - mean) * deviation * scale + bias, deviation = 1 / sqrt(variance +
// epsilon), mean and variance over the slots of the mask together; the other slots become bias.
//
// One workgroup a row; the mean first, then the variance around it, because E[v^2] - E[v]^2 would cancel.

struct Params {
    values_offset: u32,
    deviation_offset: u32,
    scale_offset: u32,
    bias_offset: u32,
    rows: u32,
    // hidden * slots
    width: u32,
    slots: u32,
    slot_mask: u32,
    // 1 / number of normalised elements of a row
    share: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> values: array<Value>;
@group(1) @binding(1) var<storage, read_write> deviations: array<f32>;
@group(1) @binding(2) var<storage, read> scale: array<Scale>;
@group(1) @binding(3) var<storage, read> bias: array<Bias>;

override HAS_SCALE: bool = false;
override HAS_BIAS: bool = false;

fn counts(element: u32) -> bool {
    return ((params.slot_mask >> (element % params.slots)) & 1u) != 0u;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_group(group, groups);
    // The same for the whole workgroup, so the barriers below are met by all or none.
    if row >= params.rows {
        return;
    }
    let start = params.values_offset + row * params.width;
    var own = 0.0;
    for (var element = local; element < params.width; element += 256u) {
        if counts(element) {
            own += f32(values[start + element]);
        }
    }
    let mean = workgroup_sum(own, local) * params.share;
    own = 0.0;
    for (var element = local; element < params.width; element += 256u) {
        if counts(element) {
            let centred = f32(values[start + element]) - mean;
            own += centred * centred;
        }
    }
    let variance = workgroup_sum(own, local) * params.share;
    let deviation = 1.0 / sqrt(variance + params.epsilon);
    for (var element = local; element < params.width; element += 256u) {
        var value = 0.0;
        if counts(element) {
            value = (f32(values[start + element]) - mean) * deviation;
            if HAS_SCALE {
                value *= f32(scale[params.scale_offset + element]);
            }
        }
        if HAS_BIAS {
            value += f32(bias[params.bias_offset + element]);
        }
        values[start + element] = to_Value(value);
    }
    if local == 0u {
        deviations[params.deviation_offset + row] = deviation;
    }
}
