// result[r, c] = source[r, c] * mask(r, c), or the mask itself. The mask is 0 with `probability`, else 1 / (1 - probability),
// drawn from (seed, site, sequences[r], steps[r] or 0, c): see lib/random.wgsl. One invocation an element.
//
// `source_value` comes from lib/source_other.wgsl or lib/source_in_place.wgsl.

struct Params {
    source_offset: u32,
    result_offset: u32,
    sequences: u32,
    steps: u32,
    width: u32,
    elements: u32,
    site: u32,
    probability: f32,
    // 1 / (1 - probability)
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> table: array<u32>;
@group(1) @binding(1) var<storage, read_write> result: array<Result>;

override HAS_SOURCE: bool = true;
override HAS_STEPS: bool = false;

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
    var time = 0u;
    if HAS_STEPS {
        time = table[params.steps + row];
    }
    let seed = vec2<u32>(table[0], table[1]);
    let drawn = random_uniform(seed, params.site, table[params.sequences + row], time, column);
    var value = select(params.factor, 0.0, drawn < params.probability);
    if HAS_SOURCE {
        value *= source_value(params.source_offset + index);
    }
    result[params.result_offset + index] = to_Result(value);
}
