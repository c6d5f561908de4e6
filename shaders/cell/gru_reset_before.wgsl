// GRU, reset before the product: n = act(x W + (r * h) U + b). The second product is that of the candidate, over
// r * h, where h is the state as the recurrent product sees it (with its dropout mask).

fn recurrent_unit(site: Site, sum: Gates) {
    let argument = gates_at(site.gate) + sum;
    put_gates(site.gate, argument);
    write_second(site, gate_value(site.direction, argument.x) * old_input(site));
}

fn second_unit(site: Site, sum: f32) {
    var argument = gates_at(site.gate);
    argument.z += sum;
    put_gates(site.gate, argument);
    let z = gate_value(site.direction, argument.y);
    let n = candidate_value(site.direction, argument.z);
    store_h(site, gru_state(z, n, old_h(site)));
}

// Leaves r's argument in place for the second phase.
fn state_gradient_unit(site: Site, d_h: f32) {
    let d_new = take_h_gradient(site, d_h);
    let argument = gates_at(site.gate);
    let z = gate_value(site.direction, argument.y);
    let n = candidate_value(site.direction, argument.z);
    let d = gru_state_gradient(z, n, old_h(site), d_new);
    let d_z = d.z * gate_slope(site.direction, argument.y, z);
    let d_n = d.n * candidate_slope(site.direction, argument.z, n);
    put_gates(site.gate, vec4f(argument.x, d_z, d_n, 0.0));
    carry[d_h_place(site)] += d.old;
}

// `sum` is the gradient of r * h.
fn second_gradient_unit(site: Site, sum: f32) {
    let kept = gates_at(site.gate);
    let argument = kept.x;
    let r = gate_value(site.direction, argument);
    let d_argument = sum * old_input(site) * gate_slope(site.direction, argument, r);
    put_gates(site.gate, vec4f(d_argument, kept.yzw));
    carry[d_h_place(site)] += sum * r * input_mask(site);
}
