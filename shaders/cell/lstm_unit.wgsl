// The LSTM's arithmetic for one unit, forward and backward side by side.
//
// i, f, g, o: input, forget, candidate and output gate; c: cell state; m: output before the projection.
// An argument is what an activation is applied to, before `clip.gates`.

struct LstmCell {
    i: f32,
    f: f32,
    g: f32,
    // Before and after `clip.cell`.
    raw: f32,
    c: f32,
}

// c' = f c + i g, with coupled gates f = 1 - i or i = 1 - f.
fn lstm_cell(direction: u32, argument: vec4f, old: f32) -> LstmCell {
    var i = gate_value(direction, argument.x);
    var f = gate_value(direction, argument.y);
    if (COUPLED == 1u) { f = 1.0 - i; }
    if (COUPLED == 2u) { i = 1.0 - f; }
    let g = candidate_value(direction, argument.z);
    let raw = f * old + i * g;
    var c = raw;
    if (CLIP_CELL) { c = bounded(raw, p.clip_cell); }
    return LstmCell(i, f, g, raw, c);
}

struct LstmCellGradient {
    // Of the arguments of i, f, g.
    argument: vec3f,
    old: f32,
}

fn lstm_cell_gradient(direction: u32, argument: vec4f, old: f32, cell: LstmCell, d_c: f32) -> LstmCellGradient {
    var d_raw = d_c;
    if (CLIP_CELL) { d_raw *= passes(cell.raw, p.clip_cell); }
    var d_i = d_raw * cell.g;
    var d_f = d_raw * old;
    if (COUPLED == 1u) { d_i -= d_f; }
    if (COUPLED == 2u) { d_f -= d_i; }
    d_i *= gate_slope(direction, argument.x, cell.i);
    d_f *= gate_slope(direction, argument.y, cell.f);
    if (COUPLED == 1u) { d_f = 0.0; }
    if (COUPLED == 2u) { d_i = 0.0; }
    let d_g = d_raw * cell.i * candidate_slope(direction, argument.z, cell.g);
    return LstmCellGradient(vec3f(d_i, d_f, d_g), d_raw * cell.f);
}

struct LstmOutput {
    o: f32,
    // hidden activation of what the output sees of the cell state
    t: f32,
}

fn lstm_seen(seen: f32) -> f32 {
    if (CLIP_HIDDEN) { return bounded(seen, p.clip_hidden); }
    return seen;
}

// m = o t
fn lstm_output(direction: u32, argument: f32, seen: f32) -> LstmOutput {
    return LstmOutput(gate_value(direction, argument), hidden_activation(direction, lstm_seen(seen)));
}

// Gradients of o's argument and of what the output sees of the cell state.
fn lstm_output_gradient(direction: u32, argument: f32, seen: f32, output: LstmOutput, d_m: f32) -> vec2f {
    let d_o = d_m * output.t * gate_slope(direction, argument, output.o);
    var d_seen = d_m * output.o * hidden_derivative(direction, lstm_seen(seen), output.t);
    if (CLIP_HIDDEN) { d_seen *= passes(seen, p.clip_hidden); }
    return vec2f(d_o, d_seen);
}

// Peephole weights of i, f, o.
fn lstm_peepholes(site: Site) -> vec3f {
    if (PEEPHOLE == 0u) { return vec3f(); }
    return vec3f(
        vector_at(site.direction, p.peephole, site.unit),
        vector_at(site.direction, p.peephole, p.hidden + site.unit),
        vector_at(site.direction, p.peephole, 2u * p.hidden + site.unit),
    );
}

// The cell state that the output gate's peephole sees.
fn lstm_peeped(old: f32, new_c: f32) -> f32 { return select(old, new_c, PEEPHOLE == 1u); }

// Adds the peepholes' gradients; `d` is the gradient of the arguments of i, f and o.
fn add_peephole_gradients(site: Site, d: vec3f, old: f32, new_c: f32) {
    add_vector_gradient(site, p.peephole, site.unit, d.x * old);
    add_vector_gradient(site, p.peephole, p.hidden + site.unit, d.y * old);
    add_vector_gradient(site, p.peephole, 2u * p.hidden + site.unit, d.z * lstm_peeped(old, new_c));
}

// The output on its way to the state, or to the projection.
fn store_m(site: Site, m: f32) {
    if (PROJECTION) {
        write_second(site, m);
    } else {
        store_h(site, m);
    }
}
