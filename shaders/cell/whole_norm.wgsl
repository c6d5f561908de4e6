// Layer normalisation as haste has it: the recurrent products of all gates are normalised together, scaled, and added to
// the input side (which the projection's own kernel has normalised). The raw products stay in `recurrent_sums`.

// Mean and 1 / sqrt(variance + epsilon) of a sequence's raw recurrent products.
fn recurrent_moments(tile: Tile, lane: u32, thread: u32) -> vec2f {
    let count = f32(p.hidden) * dot(NORM_SLOTS, vec4f(1.0));
    var sum = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        sum += dot(sums_at(site_at(tile, lane, unit).gate), NORM_SLOTS);
    }
    let mean = workgroup_sum(vec4f(sum, 0.0, 0.0, 0.0), thread).x / count;
    var squares = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let deviation = sums_at(site_at(tile, lane, unit).gate) - mean;
        squares += dot(deviation * deviation, NORM_SLOTS);
    }
    let variance = workgroup_sum(vec4f(squares, 0.0, 0.0, 0.0), thread).x / count;
    return vec2f(mean, 1.0 / sqrt(variance + p.epsilon));
}

fn normalised_sums(site: Site, moments: vec2f) -> vec4f {
    return (sums_at(site.gate) - moments.x) * moments.y * NORM_SLOTS;
}

// The arguments of a unit's gates.
fn whole_arguments(site: Site, moments: vec2f) -> vec4f {
    let scale = slots_at(site.direction, p.norm_recurrent, site.unit);
    return gates_at(site.gate) + scale * normalised_sums(site, moments);
}

// Takes the gradient of a unit's arguments; returns its share of the two sums that the normalisation's gradient needs.
fn take_argument_gradient(site: Site, moments: vec2f, gradient: vec4f) -> vec4f {
    let normalised = normalised_sums(site, moments);
    let weighted = slots_at(site.direction, p.norm_recurrent, site.unit) * gradient * NORM_SLOTS;
    add_slot_gradients(site, p.norm_recurrent, gradient * normalised);
    put_gates(site.gate, gradient);
    return vec4f(dot(weighted, vec4f(1.0)), dot(weighted, normalised), 0.0, 0.0);
}

// From the gradients of the arguments to those of the raw products.
fn put_sum_gradients(tile: Tile, lane: u32, thread: u32, moments: vec2f, partial: vec4f) {
    let count = f32(p.hidden) * dot(NORM_SLOTS, vec4f(1.0));
    let means = workgroup_sum(partial, thread) / count;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let scale = slots_at(site.direction, p.norm_recurrent, unit);
        let weighted = scale * gates_at(site.gate);
        let normalised = normalised_sums(site, moments);
        put_sums(site.gate, moments.y * (weighted - means.x - normalised * means.y) * NORM_SLOTS);
    }
}

fn recurrent_unit(site: Site, sum: Gates) { put_sums(site.gate, sum); }

fn state_gradient_unit(site: Site, d_h: f32) { carry[scratch_place(site)] = take_h_gradient(site, d_h); }
