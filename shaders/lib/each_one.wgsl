// `activated` and `activated_backward` of a value: of its one number.
fn activated_each(x: f32) -> f32 {
    return activated(x);
}

fn activated_backward_each(x: f32, gradient: f32) -> f32 {
    return activated_backward(x, gradient);
}
