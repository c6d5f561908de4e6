// LSTM with `WholeThenSum` normalisation: c is normalised too, on its way to the output only.
//
// Each pass reads the new cell states that the first has kept. Computed anew they could differ in the last bit, as the
// compiler may fuse a multiplication with an addition in one place and not in another; normalising amplifies that.
const NORM_SLOTS: vec4f = vec4f(1.0);

fn whole_cell(site: Site, argument: vec4f) -> LstmCell { return lstm_cell(site.direction, argument, old_c(site)); }

// Mean of the kept cell states, whose sum is known in parts.
fn cell_mean(partial: f32, thread: u32) -> f32 {
    return workgroup_sum(vec4f(partial, 0.0, 0.0, 0.0), thread).x / f32(p.hidden);
}

// 1 / sqrt(variance + epsilon), from parts of the sum of squared deviations.
fn cell_deviation(partial: f32, thread: u32) -> f32 {
    return 1.0 / sqrt(workgroup_sum(vec4f(partial, 0.0, 0.0, 0.0), thread).x / f32(p.hidden) + p.epsilon);
}

// What the output sees: the normalised cell state, scaled and shifted.
fn seen_cell(site: Site, normalised: f32) -> f32 {
    return vector_at(site.direction, p.norm_cell_weight, site.unit) * normalised
        + vector_at(site.direction, p.norm_cell_bias, site.unit);
}

// The new cell states wait until zoneout mixes them with the old ones.
fn norm_forward(tile: Tile, lane: u32, thread: u32) {
    let moments = recurrent_moments(tile, lane, thread);
    var sum = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let c = whole_cell(site, whole_arguments(site, moments)).c;
        hold_c(site, c);
        sum += c;
    }
    let mean = cell_mean(sum, thread);
    var squares = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let deviation = held_c(site_at(tile, lane, unit)) - mean;
        squares += deviation * deviation;
    }
    let deviation = cell_deviation(squares, thread);
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let c = held_c(site);
        let argument = whole_arguments(site, moments).w;
        let output = lstm_output(site.direction, argument, seen_cell(site, (c - mean) * deviation));
        store_c(site, c);
        store_h(site, output.o * output.t);
    }
}

struct NormalisedOutput {
    normalised: f32,
    // Gradients of o's argument and of what the output sees.
    d: vec2f,
}

fn normalised_output(site: Site, argument: f32, mean: f32, deviation: f32) -> NormalisedOutput {
    let normalised = (carry[scratch_second_place(site)] - mean) * deviation;
    let seen = seen_cell(site, normalised);
    let output = lstm_output(site.direction, argument, seen);
    let d = lstm_output_gradient(site.direction, argument, seen, output, carry[scratch_place(site)]);
    return NormalisedOutput(normalised, d);
}

fn norm_backward(tile: Tile, lane: u32, thread: u32) {
    let moments = recurrent_moments(tile, lane, thread);
    var sum = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let c = whole_cell(site, whole_arguments(site, moments)).c;
        carry[scratch_second_place(site)] = c;
        sum += c;
    }
    let mean = cell_mean(sum, thread);
    var squares = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let deviation = carry[scratch_second_place(site_at(tile, lane, unit))] - mean;
        squares += deviation * deviation;
    }
    let deviation = cell_deviation(squares, thread);
    var cell_partial = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let output = normalised_output(site, whole_arguments(site, moments).w, mean, deviation);
        let weighted = vector_at(site.direction, p.norm_cell_weight, unit) * output.d.y;
        cell_partial += vec4f(weighted, weighted * output.normalised, 0.0, 0.0);
        add_vector_gradient(site, p.norm_cell_weight, unit, output.d.y * output.normalised);
        add_vector_gradient(site, p.norm_cell_bias, unit, output.d.y);
    }
    let means = workgroup_sum(cell_partial, thread) / f32(p.hidden);
    var partial = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let argument = whole_arguments(site, moments);
        let output = normalised_output(site, argument.w, mean, deviation);
        let weighted = vector_at(site.direction, p.norm_cell_weight, unit) * output.d.y;
        let d_c = take_c_gradient(site) + deviation * (weighted - means.x - output.normalised * means.y);
        let d = lstm_cell_gradient(site.direction, argument, old_c(site), whole_cell(site, argument), d_c);
        carry[d_c_place(site)] += d.old;
        partial += take_argument_gradient(site, moments, vec4f(d.argument, output.d.x));
    }
    put_sum_gradients(tile, lane, thread, moments, partial);
}
