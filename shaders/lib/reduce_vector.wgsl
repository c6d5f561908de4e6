// Sums over a workgroup, in a fixed order: the same bits each time.

var<workgroup> sh_reduce: array<vec4f, WORKGROUP>;

// The sum of every thread's value, to every thread. Two barriers for each halving; WORKGROUP is a power of two.
fn workgroup_sum(value: vec4f, thread: u32) -> vec4f {
    sh_reduce[thread] = value;
    workgroupBarrier(); // all values are there
    for (var span = WORKGROUP / 2u; span > 0u; span /= 2u) {
        if (thread < span) { sh_reduce[thread] += sh_reduce[thread + span]; }
        workgroupBarrier(); // this halving is done before the next reads it
    }
    let sum = sh_reduce[0];
    workgroupBarrier(); // all have read before the next sum writes
    return sum;
}
