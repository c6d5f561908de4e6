// c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n] + bias[n] for matrices whose rows or columns lie together in memory: the
// products of a subgroup, without workgroup memory.
//
// A matrix of whole vec4s is read (lib/left_*.wgsl, lib/right_*.wgsl) and written (lib/result_*.wgsl) by these, another one
// number by number.
//
// An invocation owns ROWS rows of four columns each, all in registers, and takes four terms of the sum at a time: it loads
// its own 4 x 4 block of `b`; of `a` the first eight lanes of the subgroup load ROWS / 8 vec4s each, which
// broadcasts hand to all lanes. So ROWS / 8 + 4 loads serve 4 * ROWS products of a vec4. Every lane of the subgroup takes
// part in every broadcast: columns and rows beyond the edge repeat the last one and are not stored.
//
// Rust repeats a line that names ROW, BLOCK or LOAD for each of ROWS rows, ROWS / 4 blocks of four rows, ROWS / 8 loads:
// indices have to be constants for arrays to become registers.
//
// The groups of dimension z split the sum: each has its own result, and gemm_sum.wgsl adds these up in their order.

struct Params {
    // Offsets and strides of a, b, c and bias count vec4s where these are read or written by vec4s.
    a_offset: u32,
    // From one row to the next if neighbours in memory are neighbours along k, else from one term to the next.
    a_stride: u32,
    b_offset: u32,
    // From one column to the next if neighbours in memory are neighbours along k, else from one term to the next.
    b_stride: u32,
    c_offset: u32,
    c_row: u32,
    c_split: u32,
    // First row of this dispatch.
    row_start: u32,
    m: u32,
    n: u32,
    k_start: u32,
    k_end: u32,
    // Terms of a split.
    terms: u32,
    map: u32,
    bias: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<A>;
// Binding 1 is `b`: lib/weights_*.wgsl.
@group(1) @binding(2) var<storage, read> bias: array<Bias>;
@group(1) @binding(3) var<storage, read> table: array<u32>;
@group(1) @binding(4) var<storage, read_write> c: array<C>;

override WORKGROUP: u32 = 64u;
// What the table maps: 0 nothing, 1 rows of `a`, 2 columns of `a`, 3 rows of `c`.
override MAP: u32 = 0u;
override HAS_BIAS: bool = false;
// Whether terms of a row of `a` lie together (else rows of a term), and of a column of `b` (else columns of a term).
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = false;

const BLOCKS: u32 = ROWS / 4u;

const NEXT: vec4u = vec4u(0u, 1u, 2u, 3u);

// Where a lane's load number `slot / 8` begins: a row, or the first of four rows. A slot is a row, or a term and a block of
// four rows.
fn a_start(first_row: u32, slot: u32) -> u32 {
    if A_ALONG_K {
        var source = min(first_row + slot, params.m - 1u);
        if MAP == 1u {
            source = table[params.map + source];
        }
        return params.a_offset + source * params.a_stride;
    }
    return first_row + 4u * (slot % BLOCKS);
}

fn a_load(start: u32, slot: u32, k: u32, k_end: u32) -> vec4f {
    if A_ALONG_K {
        return a_terms(start, k, k_end);
    }
    let p = k + slot / BLOCKS;
    var term = min(p, k_end - 1u);
    if MAP == 2u {
        term = table[params.map + term];
    }
    return select(vec4f(), a_rows(start, term), p < k_end);
}

fn b_row(column: u32, k: u32, k_end: u32) -> vec4f {
    return select(vec4f(), b_columns(column, min(k, k_end - 1u)), k < k_end);
}

// Column i of the result is term k + i of the four columns of `b` from `column` on.
fn b_load(column: u32, k: u32, k_end: u32) -> mat4x4f {
    if B_ALONG_K {
        let columns = min(vec4u(column) + NEXT, vec4u(params.n - 1u));
        return transpose(mat4x4f(
            b_terms(columns.x, k, k_end),
            b_terms(columns.y, k, k_end),
            b_terms(columns.z, k, k_end),
            b_terms(columns.w, k, k_end),
        ));
    }
    return mat4x4f(
        b_row(column, k, k_end),
        b_row(column, k + 1u, k_end),
        b_row(column, k + 2u, k_end),
        b_row(column, k + 3u, k_end),
    );
}

fn store(row: u32, column: u32, split: u32, sums: vec4f) {
    if row < params.m && column < params.n {
        var destination = row;
        if MAP == 3u {
            destination = table[params.map + row];
        }
        store_columns(params.c_offset + split * params.c_split + destination * params.c_row, column, sums);
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    let first_row = params.row_start + group.y * ROWS;
    let column = 4u * (group.x * WORKGROUP + local);
    let own = min(column, 4u * ((params.n - 1u) / 4u));
    let lane = invocation % 8u;
    let k_start = params.k_start + group.z * params.terms;
    let k_end = min(params.k_end, k_start + params.terms);

    var sums: array<vec4f, ROWS>;
    var starts: array<u32, ROWS / 8u>;
    var loaded: array<vec4f, ROWS / 8u>;
    // Column i holds the four terms of row i of the block.
    var blocks: array<mat4x4f, BLOCKS>;
    starts[LOADu] = a_start(first_row, 8u * LOADu + lane);
    for (var k = k_start; k < k_end; k += 4u) {
        let right = b_load(own, k, k_end);
        loaded[LOADu] = a_load(starts[LOADu], 8u * LOADu + lane, k, k_end);
        if A_ALONG_K {
            blocks[BLOCKu] = mat4x4f(subgroupBroadcast(loaded[BLOCKu / 2u], 4u * BLOCKu % 8u), subgroupBroadcast(loaded[BLOCKu / 2u], 4u * BLOCKu % 8u + 1u), subgroupBroadcast(loaded[BLOCKu / 2u], 4u * BLOCKu % 8u + 2u), subgroupBroadcast(loaded[BLOCKu / 2u], 4u * BLOCKu % 8u + 3u));
        } else {
            blocks[BLOCKu] = transpose(mat4x4f(subgroupBroadcast(loaded[BLOCKu / 8u], BLOCKu % 8u), subgroupBroadcast(loaded[(BLOCKS + BLOCKu) / 8u], (BLOCKS + BLOCKu) % 8u), subgroupBroadcast(loaded[(2u * BLOCKS + BLOCKu) / 8u], (2u * BLOCKS + BLOCKu) % 8u), subgroupBroadcast(loaded[(3u * BLOCKS + BLOCKu) / 8u], (3u * BLOCKS + BLOCKu) % 8u)));
        }
        sums[ROWu] += right * blocks[ROWu / 4u][ROWu % 4u];
    }
    store(first_row + ROWu, column, group.z, sums[ROWu]);
}
