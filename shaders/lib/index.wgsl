// Linear numbers in a dispatch whose workgroups are spread over x and y, because a dimension has at most 65,535.

// The workgroup's number.
fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// The invocation's number, for workgroups of `size` invocations in x.
fn linear_index(group: vec3<u32>, groups: vec3<u32>, local: u32, size: u32) -> u32 {
    return linear_group(group, groups) * size + local;
}
