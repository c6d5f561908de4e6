// Elman: h' = act(x W + h U + b).

fn recurrent_unit(site: Site, sum: Gates) {
    let argument = projection_at(site) + sum;
    keep_arguments(site, argument);
    store_h(site, candidate_value(site.direction, argument));
}

fn state_gradient_unit(site: Site, d_h: f32) {
    let d_new = take_h_gradient(site, d_h);
    let argument = gates_at(site.gate);
    let value = candidate_value(site.direction, argument);
    put_gates(site.gate, d_new * candidate_slope(site.direction, argument, value));
}
