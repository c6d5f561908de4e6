// Elman: h' = act(x W + h U + b).

fn recurrent_unit(site: Site, sum: Gates) {
    let argument = projection_at(site) + sum;
    keep_arguments(site, argument);
    store_h(site, candidate_value(site.direction, argument));
}

fn state_gradient_unit(site: Site, d_h: f32) {
    let d_new = take_h_gradient(site, d_h);
    let at = p.gates + site.gate;
    let argument = gates[at];
    let value = candidate_value(site.direction, argument);
    gates[at] = d_new * candidate_slope(site.direction, argument, value);
}
