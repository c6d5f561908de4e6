// Many strided matrix copies in one dispatch: result[r * ts0 + c * ts1] = source[r * ss0 + c * ss1] for each job, or added.
// One invocation an element of all jobs laid end to end; it finds its job by bisection over the jobs' first elements.

struct Params {
    // First word of the jobs in the table, eight words each: first element, source, target, columns, source strides of a
    // row and of a column, target strides likewise.
    jobs: u32,
    count: u32,
    elements: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> source: array<Source>;
@group(1) @binding(1) var<storage, read> table: array<u32>;
@group(1) @binding(2) var<storage, read_write> result: array<Result>;

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
    // The last job whose first element is not behind this one.
    var low = 0u;
    var high = params.count;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if table[params.jobs + 8u * middle] <= index {
            low = middle;
        } else {
            high = middle;
        }
    }
    let job = params.jobs + 8u * low;
    let element = index - table[job];
    let columns = table[job + 3u];
    let row = element / columns;
    let column = element % columns;
    let destination = table[job + 2u] + row * table[job + 6u] + column * table[job + 7u];
    var value = f32(source[table[job + 1u] + row * table[job + 4u] + column * table[job + 5u]]);
    if params.accumulate != 0u {
        value += f32(result[destination]);
    }
    result[destination] = to_Result(value);
}
