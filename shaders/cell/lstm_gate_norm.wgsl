// LSTM with `PerGate` normalisation (TensorFlow Lite, NNAPI): each gate's sum, peephole included, is normalised over the
// hidden units and scaled, then the bias is added. The forward leaves the sums in `gates`; every pass and the backward read
// the same ones, since summed anew they could differ in the last bit, which the normalisation amplifies.

struct GateMoments {
    mean: vec4f,
    deviation: vec4f,
}

fn normalised_gates(sums: vec4f, moments: GateMoments) -> vec4f { return (sums - moments.mean) * moments.deviation; }

fn gate_arguments(site: Site, sums: vec4f, moments: GateMoments) -> vec4f {
    return normalised_gates(sums, moments) * slots_at(site.direction, p.norm_gates, site.unit)
        + slots_at(site.direction, p.gate_bias, site.unit);
}

fn gate_norm_cell(site: Site, moments: GateMoments) -> LstmCell {
    return lstm_cell(site.direction, gate_arguments(site, gates_at(site.gate), moments), old_c(site));
}

fn gate_moments(tile: Tile, lane: u32, thread: u32) -> GateMoments {
    let count = f32(p.hidden);
    var sum = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        sum += gates_at(site_at(tile, lane, unit).gate);
    }
    let mean = workgroup_sum(sum, thread) / count;
    var squares = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let deviation = gates_at(site_at(tile, lane, unit).gate) - mean;
        squares += deviation * deviation;
    }
    let variance = workgroup_sum(squares, thread) / count;
    return GateMoments(mean, 1.0 / sqrt(variance + p.epsilon));
}

// Adds the peepholes' terms to the products in `gates`; o's on the new cell state needs the moments of i, f and g first.
fn complete_sums(tile: Tile, lane: u32, thread: u32) -> GateMoments {
    if (PEEPHOLE != 0u) {
        for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
            let site = site_at(tile, lane, unit);
            let peephole = lstm_peepholes(site);
            let old = old_c(site);
            let seen = vec4f(peephole.x * old, peephole.y * old, 0.0, select(0.0, peephole.z * old, PEEPHOLE == 2u));
            put_gates(site.gate, gates_at(site.gate) + seen);
        }
    }
    let moments = gate_moments(tile, lane, thread);
    if (PEEPHOLE != 1u) { return moments; }
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let seen = lstm_peepholes(site).z * gate_norm_cell(site, moments).c;
        put_gates(site.gate, gates_at(site.gate) + vec4f(0.0, 0.0, 0.0, seen));
    }
    return gate_moments(tile, lane, thread);
}

fn recurrent_unit(site: Site, sum: Gates) { put_gates(site.gate, gates_at(site.gate) + sum); }

fn norm_forward(tile: Tile, lane: u32, thread: u32) {
    let moments = complete_sums(tile, lane, thread);
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let argument = gate_arguments(site, gates_at(site.gate), moments);
        let cell = lstm_cell(site.direction, argument, old_c(site));
        let output = lstm_output(site.direction, argument.w, cell.c);
        store_c(site, cell.c);
        store_m(site, output.o * output.t);
    }
}

fn state_gradient_unit(site: Site, d_h: f32) {
    if (PROJECTION) {
        project_gradient(site, d_h);
    } else {
        carry[scratch_place(site)] = take_h_gradient(site, d_h);
    }
}

fn second_gradient_unit(site: Site, sum: f32) { carry[scratch_place(site)] = sum; }

// One unit on its way back; what several passes need.
struct GateNormUnit {
    argument: vec4f,
    normalised: vec4f,
    cell: LstmCell,
    // Gradients of o's argument and of the cell state through the output.
    d: vec2f,
}

fn gate_norm_unit(site: Site, moments: GateMoments) -> GateNormUnit {
    let sums = gates_at(site.gate);
    let argument = gate_arguments(site, sums, moments);
    let cell = lstm_cell(site.direction, argument, old_c(site));
    let output = lstm_output(site.direction, argument.w, cell.c);
    let d = lstm_output_gradient(site.direction, argument.w, cell.c, output, carry[scratch_place(site)]);
    return GateNormUnit(argument, normalised_gates(sums, moments), cell, d);
}

// The moments of the complete sums, which the forward has left unless they were rebuilt.
fn sum_moments(tile: Tile, lane: u32, thread: u32) -> GateMoments {
    if (REBUILT) { return complete_sums(tile, lane, thread); }
    return gate_moments(tile, lane, thread);
}

fn norm_backward(tile: Tile, lane: u32, thread: u32) {
    let moments = sum_moments(tile, lane, thread);
    let count = f32(p.hidden);
    // o first: with a peephole on the new cell state its sum's gradient is part of the cell state's.
    var output_partial = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let back = gate_norm_unit(site, moments);
        let weighted = slots_at(site.direction, p.norm_gates, unit).w * back.d.x;
        output_partial += vec4f(weighted, weighted * back.normalised.w, 0.0, 0.0);
    }
    let output_means = workgroup_sum(output_partial, thread) / count;
    // Then the cell state's gradient, kept for the last pass, and the sums over i, f, g, o.
    var partial = vec4f();
    var partial_normalised = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let back = gate_norm_unit(site, moments);
        let scale = slots_at(site.direction, p.norm_gates, unit);
        var d_c = take_c_gradient(site) + back.d.y;
        if (PEEPHOLE == 1u) {
            let weighted = scale.w * back.d.x;
            d_c += lstm_peepholes(site).z * moments.deviation.w
                * (weighted - output_means.x - back.normalised.w * output_means.y);
        }
        carry[scratch_second_place(site)] = d_c;
        let d = lstm_cell_gradient(site.direction, back.argument, old_c(site), back.cell, d_c);
        let weighted = scale * vec4f(d.argument, back.d.x);
        partial += weighted;
        partial_normalised += weighted * back.normalised;
    }
    let means = workgroup_sum(partial, thread) / count;
    let means_normalised = workgroup_sum(partial_normalised, thread) / count;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let back = gate_norm_unit(site, moments);
        let old = old_c(site);
        let d = lstm_cell_gradient(site.direction, back.argument, old, back.cell, carry[scratch_second_place(site)]);
        let d_argument = vec4f(d.argument, back.d.x);
        add_slot_gradients(site, p.gate_bias, d_argument);
        add_slot_gradients(site, p.norm_gates, d_argument * back.normalised);
        let weighted = slots_at(site.direction, p.norm_gates, unit) * d_argument;
        let d_sums = moments.deviation * (weighted - means - back.normalised * means_normalised);
        put_gates(site.gate, d_sums);
        let peephole = lstm_peepholes(site);
        carry[d_c_place(site)] += d.old + peephole.x * d_sums.x + peephole.y * d_sums.y
            + select(0.0, peephole.z * d_sums.w, PEEPHOLE == 2u);
        if (PEEPHOLE != 0u) { add_peephole_gradients(site, d_sums.xyw, old, back.cell.c); }
    }
}
