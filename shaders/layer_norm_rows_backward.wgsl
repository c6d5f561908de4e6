// The backward of layer_norm_rows.wgsl: with g = scale * gradient and means over the slots of the mask,
//   values = deviation * (g - mean(g) - values * mean(g * values)),
// where `values` holds the normalised values before scale and bias; the other slots become 0. One workgroup a row.

struct Params {
    values_offset: u32,
    deviation_offset: u32,
    scale_offset: u32,
    gradient_offset: u32,
    rows: u32,
    // hidden * slots
    width: u32,
    slots: u32,
    slot_mask: u32,
    // 1 / number of normalised elements of a row
    share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> values: array<f32>;
@group(1) @binding(1) var<storage, read> deviations: array<f32>;
@group(1) @binding(2) var<storage, read> scale: array<Scale>;
@group(1) @binding(3) var<storage, read> gradient: array<Gradient>;

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
    let d_start = params.gradient_offset + row * params.width;
    var plain = 0.0;
    var weighted = 0.0;
    for (var element = local; element < params.width; element += 256u) {
        if counts(element) {
            let d_scaled = f32(scale[params.scale_offset + element]) * f32(gradient[d_start + element]);
            plain += d_scaled;
            weighted += d_scaled * values[start + element];
        }
    }
    let mean = workgroup_sum(plain, local) * params.share;
    let weighted_mean = workgroup_sum(weighted, local) * params.share;
    let deviation = deviations[params.deviation_offset + row];
    for (var element = local; element < params.width; element += 256u) {
        var d_value = 0.0;
        if counts(element) {
            let d_scaled = f32(scale[params.scale_offset + element]) * f32(gradient[d_start + element]);
            d_value = deviation * (d_scaled - mean - values[start + element] * weighted_mean);
        }
        values[start + element] = d_value;
    }
}
