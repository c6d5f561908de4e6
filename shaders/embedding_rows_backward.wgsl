// result[e, c] = (accumulate ? result[e, c] : 0) + sum over rows r with ids[r] = e of gradient[r, c].
//
// No atomics: each element of the table has invocations of its own, so the order is fixed. A workgroup owns 16 elements; 16
// invocations an element each sum every 16th row, and one adds up these sums. Where the table is small the rows are split
// and `result` is one table a split, see gemm_sum.wgsl.

struct Params {
    gradient_offset: u32,
    gradient_stride: u32,
    ids_offset: u32,
    ids_stride: u32,
    result_offset: u32,
    width: u32,
    // Of the table
    elements: u32,
    rows: u32,
    // Rows of a split
    split_rows: u32,
    // Workgroups of a split
    tiles: u32,
    // The number of the dispatch's first workgroup, and how many there are in all
    first_group: u32,
    groups: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> gradient: array<f32>;
@group(1) @binding(1) var<storage, read> ids: array<f32>;
@group(1) @binding(2) var<storage, read_write> result: array<f32>;

var<workgroup> sh_sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = params.first_group + linear_group(group, groups);
    // The same for the whole workgroup, so the barrier below is met by all or none.
    if number >= params.groups {
        return;
    }
    let split = number / params.tiles;
    let element = number % params.tiles * 16u + local % 16u;
    let entry = element / params.width;
    let column = element % params.width;
    let lane = local / 16u;
    let is_element = element < params.elements;
    var sum = 0.0;
    if is_element {
        let start = split * params.split_rows;
        let end = min(start + params.split_rows, params.rows);
        for (var row = start + lane; row < end; row += 16u) {
            // `entry` is below the bound, so a number that is no id differs from it.
            if whole_below(ids[params.ids_offset + row * params.ids_stride], entry + 1u) == entry {
                sum += gradient[params.gradient_offset + row * params.gradient_stride + column];
            }
        }
    }
    sh_sums[local] = sum;
    // All partial sums are there.
    workgroupBarrier();
    if lane == 0u && is_element {
        for (var other = 1u; other < 16u; other++) {
            sum += sh_sums[other * 16u + local];
        }
        let destination = params.result_offset + split * params.elements + element;
        if params.accumulate != 0u {
            sum += result[destination];
        }
        result[destination] = sum;
    }
}
