// GRU, reset after the product: n = act(x W + b + r * (h U + b')). Slots r, z, n, q; q = h U + b'.

fn recurrent_unit(site: Site, sum: Gates) {
    let argument = projection_at(site) + sum;
    keep_arguments(site, argument);
    store_h(site, gru_forward(site.direction, argument, old_h(site)));
}

fn state_gradient_unit(site: Site, d_h: f32) {
    let d_new = take_h_gradient(site, d_h);
    let d = gru_backward(site.direction, gates_at(site.gate), old_h(site), d_new);
    put_gates(site.gate, d.argument);
    carry[d_h_place(site)] += d.old;
}
