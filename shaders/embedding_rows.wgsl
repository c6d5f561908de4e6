// result[r] = table[ids[r]] | features[r], the embedding zeros where ids[r] is no whole number below `entries`. One
// invocation an element.

struct Params {
    table_offset: u32,
    entries: u32,
    width: u32,
    ids_offset: u32,
    ids_stride: u32,
    features_offset: u32,
    features_stride: u32,
    result_offset: u32,
    result_stride: u32,
    // Embedding and features
    columns: u32,
    elements: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> table: array<f32>;
@group(1) @binding(1) var<storage, read> ids: array<f32>;
@group(1) @binding(2) var<storage, read> features: array<f32>;
@group(1) @binding(3) var<storage, read_write> result: array<f32>;

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
    let row = index / params.columns;
    let column = index % params.columns;
    var value = 0.0;
    if column < params.width {
        let id = whole_below(ids[params.ids_offset + row * params.ids_stride], params.entries);
        if id < params.entries {
            value = table[params.table_offset + id * params.width + column];
        }
    } else {
        value = features[params.features_offset + row * params.features_stride + column - params.width];
    }
    result[params.result_offset + row * params.result_stride + column] = value;
}
