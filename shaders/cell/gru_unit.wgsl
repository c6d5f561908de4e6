// The GRU's arithmetic for one unit (Cho et al. 2014), forward and backward side by side.
//
// r, z: reset and update gate; n: candidate; h: state. `TAKE_NEW` swaps the meaning of z.

// The share of the old state.
fn gru_keep(z: f32) -> f32 { return select(z, 1.0 - z, TAKE_NEW); }

fn gru_state(z: f32, n: f32, old: f32) -> f32 {
    let keep = gru_keep(z);
    return keep * old + (1.0 - keep) * n;
}

struct GruGradient {
    z: f32,
    n: f32,
    old: f32,
}

// Gradients of z, n and the old state from that of the new one.
fn gru_state_gradient(z: f32, n: f32, old: f32, d_new: f32) -> GruGradient {
    let keep = gru_keep(z);
    let d_keep = d_new * (old - n);
    return GruGradient(select(d_keep, -d_keep, TAKE_NEW), d_new * (1.0 - keep), d_new * keep);
}

// Reset after the product: the four arguments are r, z, the input half of n, and its recurrent half q.
fn gru_forward(direction: u32, argument: vec4f, old: f32) -> f32 {
    let r = gate_value(direction, argument.x);
    let z = gate_value(direction, argument.y);
    let n = candidate_value(direction, argument.z + r * argument.w);
    return gru_state(z, n, old);
}

struct GruBackward {
    argument: vec4f,
    old: f32,
}

fn gru_backward(direction: u32, argument: vec4f, old: f32, d_new: f32) -> GruBackward {
    let r = gate_value(direction, argument.x);
    let z = gate_value(direction, argument.y);
    let n_argument = argument.z + r * argument.w;
    let n = candidate_value(direction, n_argument);
    let d = gru_state_gradient(z, n, old, d_new);
    let d_n = d.n * candidate_slope(direction, n_argument, n);
    let d_r = d_n * argument.w * gate_slope(direction, argument.x, r);
    let d_z = d.z * gate_slope(direction, argument.y, z);
    return GruBackward(vec4f(d_r, d_z, d_n, d_n * r), d.old);
}
