// LSTM without normalisation: arguments are gates plus peephole terms. Slots i, f, g, o.

// The arguments of i, f, g; o's lacks its peephole.
fn lstm_arguments(site: Site, pre: vec4f, old: f32) -> vec4f {
    let peephole = lstm_peepholes(site);
    return pre + vec4f(peephole.x * old, peephole.y * old, 0.0, 0.0);
}

fn recurrent_unit(site: Site, sum: Gates) {
    let pre = projection_at(site) + sum;
    keep_arguments(site, pre);
    let old = old_c(site);
    let argument = lstm_arguments(site, pre, old);
    let cell = lstm_cell(site.direction, argument, old);
    let output_argument = argument.w + lstm_peepholes(site).z * lstm_peeped(old, cell.c);
    let output = lstm_output(site.direction, output_argument, cell.c);
    store_c(site, cell.c);
    store_m(site, output.o * output.t);
}

// From the gradient of m to that of the gates.
fn lstm_unit_gradient(site: Site, d_m: f32) {
    let old = old_c(site);
    let peephole = lstm_peepholes(site);
    let argument = lstm_arguments(site, gates_at(site.gate), old);
    let cell = lstm_cell(site.direction, argument, old);
    let output_argument = argument.w + peephole.z * lstm_peeped(old, cell.c);
    let output = lstm_output(site.direction, output_argument, cell.c);
    let d_output_side = lstm_output_gradient(site.direction, output_argument, cell.c, output, d_m);
    let d_peeped = peephole.z * d_output_side.x;
    let d_c = take_c_gradient(site) + d_output_side.y + select(0.0, d_peeped, PEEPHOLE == 1u);
    let d = lstm_cell_gradient(site.direction, argument, old, cell, d_c);
    put_gates(site.gate, vec4f(d.argument, d_output_side.x));
    carry[d_c_place(site)] += d.old + peephole.x * d.argument.x + peephole.y * d.argument.y
        + select(0.0, d_peeped, PEEPHOLE == 2u);
    if (PEEPHOLE != 0u) {
        add_peephole_gradients(site, vec3f(d.argument.xy, d_output_side.x), old, cell.c);
    }
}

fn state_gradient_unit(site: Site, d_h: f32) {
    if (PROJECTION) {
        project_gradient(site, d_h);
    } else {
        lstm_unit_gradient(site, take_h_gradient(site, d_h));
    }
}

fn second_gradient_unit(site: Site, sum: f32) { lstm_unit_gradient(site, sum); }
