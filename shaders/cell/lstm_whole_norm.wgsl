// LSTM with `WholeThenSum` normalisation: c is normalised too, on its way to the output only.
const NORM_SLOTS: vec4f = vec4f(1.0);

fn whole_cell(site: Site, argument: vec4f) -> LstmCell { return lstm_cell(site.direction, argument, old_c(site)); }

// Mean and 1 / sqrt(variance + epsilon) of the new cell states, which are computed anew in each pass.
fn cell_moments(tile: Tile, lane: u32, step: u32, thread: u32, moments: vec2f) -> vec2f {
    var sum = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, step, unit);
        sum += whole_cell(site, whole_arguments(site, moments)).c;
    }
    let mean = workgroup_sum(vec4f(sum, 0.0, 0.0, 0.0), thread).x / f32(p.hidden);
    var squares = 0.0;
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, step, unit);
        let deviation = whole_cell(site, whole_arguments(site, moments)).c - mean;
        squares += deviation * deviation;
    }
    let variance = workgroup_sum(vec4f(squares, 0.0, 0.0, 0.0), thread).x / f32(p.hidden);
    return vec2f(mean, 1.0 / sqrt(variance + p.epsilon));
}

// What the output sees: the normalised cell state, scaled and shifted.
fn seen_cell(site: Site, normalised: f32) -> f32 {
    return vector_at(site.direction, p.norm_cell_weight, site.unit) * normalised
        + vector_at(site.direction, p.norm_cell_bias, site.unit);
}

fn norm_forward(tile: Tile, lane: u32, step: u32, thread: u32) {
    let moments = recurrent_moments(tile, lane, step, thread);
    let of_cell = cell_moments(tile, lane, step, thread, moments);
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, step, unit);
        let argument = whole_arguments(site, moments);
        let cell = whole_cell(site, argument);
        let output = lstm_output(site.direction, argument.w, seen_cell(site, (cell.c - of_cell.x) * of_cell.y));
        store_c(site, cell.c);
        store_h(site, output.o * output.t);
    }
}

struct NormalisedOutput {
    normalised: f32,
    // Gradients of o's argument and of what the output sees.
    d: vec2f,
}

fn normalised_output(site: Site, argument: vec4f, cell: LstmCell, of_cell: vec2f) -> NormalisedOutput {
    let normalised = (cell.c - of_cell.x) * of_cell.y;
    let seen = seen_cell(site, normalised);
    let output = lstm_output(site.direction, argument.w, seen);
    let d = lstm_output_gradient(site.direction, argument.w, seen, output, carry[scratch_place(site)]);
    return NormalisedOutput(normalised, d);
}

fn norm_backward(tile: Tile, lane: u32, step: u32, thread: u32) {
    let moments = recurrent_moments(tile, lane, step, thread);
    let of_cell = cell_moments(tile, lane, step, thread, moments);
    var cell_partial = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, step, unit);
        let argument = whole_arguments(site, moments);
        let output = normalised_output(site, argument, whole_cell(site, argument), of_cell);
        let weighted = vector_at(site.direction, p.norm_cell_weight, unit) * output.d.y;
        cell_partial += vec4f(weighted, weighted * output.normalised, 0.0, 0.0);
        add_vector_gradient(site, p.norm_cell_weight, unit, output.d.y * output.normalised);
        add_vector_gradient(site, p.norm_cell_bias, unit, output.d.y);
    }
    let means = workgroup_sum(cell_partial, thread) / f32(p.hidden);
    var partial = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, step, unit);
        let argument = whole_arguments(site, moments);
        let cell = whole_cell(site, argument);
        let output = normalised_output(site, argument, cell, of_cell);
        let weighted = vector_at(site.direction, p.norm_cell_weight, unit) * output.d.y;
        let d_c = take_c_gradient(site) + of_cell.y * (weighted - means.x - output.normalised * means.y);
        let d = lstm_cell_gradient(site.direction, argument, old_c(site), cell, d_c);
        carry[d_c_place(site)] += d.old;
        partial += take_argument_gradient(site, moments, vec4f(d.argument, output.d.x));
    }
    put_sum_gradients(tile, lane, step, thread, moments, partial);
}
