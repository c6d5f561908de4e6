// The lane's number among the eight that load for all.
var<private> subgroup_lane: u32;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    subgroup_lane = invocation % 8u;
    run(group, thread);
}
