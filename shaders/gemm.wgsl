// c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n] + bias[n], over the terms k_start .. k_end of the sum, with any strides
// and one index through the table.
//
// A workgroup of 256 invocations computes 64 x 64 elements, an invocation 4 x 4 of them in registers. Per round 16 terms
// of the sum pass through workgroup memory: each invocation fetches one vec4 of `a` (four rows, one term) and one of `b`
// (one term, four columns). Every element is summed by one invocation in the order of the terms: results are the same
// from run to run. The groups of dimension z split the sum: each has its own result, and gemm_sum.wgsl adds these up in
// their order.

struct Params {
    a_offset: u32,
    a_row: u32,
    a_column: u32,
    b_offset: u32,
    b_row: u32,
    b_column: u32,
    c_offset: u32,
    c_row: u32,
    c_column: u32,
    // First row of this dispatch.
    row_start: u32,
    m: u32,
    n: u32,
    k_start: u32,
    k_end: u32,
    map: u32,
    bias: u32,
    has_bias: u32,
    accumulate: u32,
    // Terms of a split, and from one split's result to the next.
    terms: u32,
    c_split: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<A>;
@group(1) @binding(1) var<storage, read> b: array<B>;
@group(1) @binding(2) var<storage, read> bias: array<Bias>;
@group(1) @binding(3) var<storage, read> table: array<u32>;
@group(1) @binding(4) var<storage, read_write> c: array<C>;

// What the table maps: 0 nothing, 1 rows of `a`, 2 columns of `a`, 3 rows of `c`.
override MAP: u32 = 0u;
// Whether neighbouring invocations fetch neighbouring terms of a row of `a` (else neighbouring rows), and of a column of
// `b` (else neighbouring columns): whichever lies together in memory.
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = false;

const TERMS: u32 = 16u;
// Vectors from one term to the next; one more than needed, so that fetches along k do not meet in one memory bank.
const PITCH: u32 = 17u;

var<workgroup> sh_a: array<vec4<f32>, 272>;
var<workgroup> sh_b: array<vec4<f32>, 272>;

fn a_start(row: u32) -> u32 {
    var source = min(row, params.m - 1u);
    if MAP == 1u {
        source = table[params.map + source];
    }
    return params.a_offset + source * params.a_row;
}

fn store(row: u32, column: u32, split: u32, sums: vec4<f32>) {
    if row >= params.m {
        return;
    }
    var destination = row;
    if MAP == 3u {
        destination = table[params.map + row];
    }
    let start = params.c_offset + split * params.c_split + destination * params.c_row;
    for (var lane = 0u; lane < 4u; lane++) {
        let j = column + lane;
        if j < params.n {
            let index = start + j * params.c_column;
            var value = sums[lane];
            if params.has_bias != 0u {
                value += f32(bias[params.bias + j]);
            }
            if params.accumulate != 0u {
                value += f32(c[index]);
            }
            c[index] = to_C(value);
        }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first_row = params.row_start + group.y * 64u;
    let first_column = group.x * 64u;
    let k_start = params.k_start + group.z * params.terms;
    let k_end = min(params.k_end, k_start + params.terms);
    let low = local % 16u;
    let high = local / 16u;

    // What this invocation fetches of each round's tiles.
    let a_term = select(high, low, A_ALONG_K);
    let a_block = select(low, high, A_ALONG_K);
    let a_row = first_row + a_block * 4u;
    let a0 = a_start(a_row);
    let a1 = a_start(a_row + 1u);
    let a2 = a_start(a_row + 2u);
    let a3 = a_start(a_row + 3u);
    let b_term = select(high, low, B_ALONG_K);
    let b_block = select(low, high, B_ALONG_K);
    let b_last = params.n - 1u;
    let b_columns = min(vec4<u32>(first_column + b_block * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(b_last));
    let b_starts = params.b_offset + b_columns * params.b_column;

    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    for (var k = k_start; k < k_end; k += TERMS) {
        // Rows and columns beyond the edge repeat the last one and are not stored; terms beyond the end are zero.
        var a_values = vec4<f32>();
        let p = k + a_term;
        if p < k_end {
            var column = p;
            if MAP == 2u {
                column = table[params.map + p];
            }
            let skip = column * params.a_column;
            a_values = vec4<f32>(f32(a[a0 + skip]), f32(a[a1 + skip]), f32(a[a2 + skip]), f32(a[a3 + skip]));
        }
        sh_a[a_term * PITCH + a_block] = a_values;
        var b_values = vec4<f32>();
        let q = k + b_term;
        if q < k_end {
            let at = b_starts + q * params.b_row;
            b_values = vec4<f32>(f32(b[at.x]), f32(b[at.y]), f32(b[at.z]), f32(b[at.w]));
        }
        sh_b[b_term * PITCH + b_block] = b_values;
        // The tiles are complete.
        workgroupBarrier();
        for (var term = 0u; term < TERMS; term++) {
            let left = sh_a[term * PITCH + high];
            let right = sh_b[term * PITCH + low];
            sums0 += left.x * right;
            sums1 += left.y * right;
            sums2 += left.z * right;
            sums3 += left.w * right;
        }
        // All have read the tiles before the next round overwrites them.
        workgroupBarrier();
    }

    let row = first_row + high * 4u;
    let column = first_column + low * 4u;
    store(row, column, group.z, sums0);
    store(row + 1u, column, group.z, sums1);
    store(row + 2u, column, group.z, sums2);
    store(row + 3u, column, group.z, sums3);
}
