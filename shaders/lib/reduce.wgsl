// The sum over a workgroup of 256 invocations, in a fixed order.

var<workgroup> sh_sums: array<f32, 256>;

// To be called by all invocations of the workgroup; all receive the sum.
fn workgroup_sum(value: f32, local: u32) -> f32 {
    sh_sums[local] = value;
    // All values are there.
    workgroupBarrier();
    for (var stride = 128u; stride > 0u; stride = stride >> 1u) {
        if local < stride {
            sh_sums[local] += sh_sums[local + stride];
        }
        // This round's sums are complete before the next round adds them.
        workgroupBarrier();
    }
    let sum = sh_sums[0];
    // All have read the sum before another call overwrites it.
    workgroupBarrier();
    return sum;
}
