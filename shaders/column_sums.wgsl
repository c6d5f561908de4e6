// result[split, c] = (accumulate ? result[split, c] : 0) + sum over the split's rows of a[r, c] * (b ? b[r, c] : 1).
//
// A workgroup owns COLUMNS values of neighbouring columns, one or four numbers each (lib/value_*.wgsl), and one split of the
// rows. The 256 / COLUMNS invocations of a column walk its rows side by side, and one adds up their sums. The order is fixed.

struct Params {
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    result_offset: u32,
    columns: u32,
    // Workgroups side by side
    blocks: u32,
    rows: u32,
    split_rows: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<A>;
@group(1) @binding(1) var<storage, read> b: array<B>;
@group(1) @binding(2) var<storage, read_write> result: array<Value>;

override MULTIPLY: bool = false;
// A power of two
override COLUMNS: u32 = 64u;

var<workgroup> sh_sums: array<Value, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lanes = 256u / COLUMNS;
    let number = linear_group(group, groups);
    let split = number / params.blocks;
    let column = number % params.blocks * COLUMNS + local % COLUMNS;
    let lane = local / COLUMNS;
    var sum = Value();
    if column < params.columns {
        let start = min(split * params.split_rows, params.rows);
        let end = min(start + params.split_rows, params.rows);
        for (var row = start + lane; row < end; row += lanes) {
            var value = Value(a[params.a_offset + row * params.a_stride + column]);
            if MULTIPLY {
                value *= Value(b[params.b_offset + row * params.b_stride + column]);
            }
            sum += value;
        }
    }
    sh_sums[local] = sum;
    // All partial sums are there.
    workgroupBarrier();
    // The dispatch may have more workgroups than there are splits.
    if lane == 0u && column < params.columns && split * params.split_rows < max(params.rows, 1u) {
        for (var other = 1u; other < lanes; other++) {
            sum += sh_sums[other * COLUMNS + local];
        }
        let destination = params.result_offset + split * params.columns + column;
        if params.accumulate != 0u {
            sum += result[destination];
        }
        result[destination] = sum;
    }
}
