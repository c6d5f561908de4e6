// result[c] = (accumulate ? result[c] : 0) + sum over rows row_start .. row_end of a[r, c] * (b ? b[r, c] : 1).
//
// A workgroup owns 16 columns, one or four of them an invocation (lib/value_*.wgsl); the LANES invocations of a column each
// sum every LANES-th row, and one adds up these sums. The order is fixed.

struct Params {
    a_offset: u32,
    a_stride: u32,
    b_offset: u32,
    b_stride: u32,
    result_offset: u32,
    columns: u32,
    row_start: u32,
    row_end: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<A>;
@group(1) @binding(1) var<storage, read> b: array<B>;
@group(1) @binding(2) var<storage, read_write> result: array<Value>;

override MULTIPLY: bool = false;

const COLUMNS: u32 = 16u / PACK;
const LANES: u32 = 256u / COLUMNS;

var<workgroup> sh_sums: array<Value, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = linear_group(group, groups) * COLUMNS + local % COLUMNS;
    let lane = local / COLUMNS;
    var sum = Value();
    if column < params.columns {
        for (var row = params.row_start + lane; row < params.row_end; row += LANES) {
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
    if lane == 0u && column < params.columns {
        for (var other = 1u; other < LANES; other++) {
            sum += sh_sums[other * COLUMNS + local];
        }
        let destination = params.result_offset + column;
        if params.accumulate != 0u {
            sum += result[destination];
        }
        result[destination] = sum;
    }
}
