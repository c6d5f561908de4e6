// `activated` and `activated_backward` of a value: of each of its four numbers.
fn activated_each(x: vec4f) -> vec4f {
    return vec4f(activated(x.x), activated(x.y), activated(x.z), activated(x.w));
}

fn activated_backward_each(x: vec4f, gradient: vec4f) -> vec4f {
    return vec4f(
        activated_backward(x.x, gradient.x),
        activated_backward(x.y, gradient.y),
        activated_backward(x.z, gradient.z),
        activated_backward(x.w, gradient.w),
    );
}
