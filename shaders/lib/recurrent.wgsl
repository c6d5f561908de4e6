// What the recurrent kernels share: sizes, places, activations of a direction, zoneout. Where a unit's projection and state
// come from and go to: lib/rows_*.wgsl.
//
// A workgroup works on a tile of TILE sequences (neighbours in sorted order, so of similar length) of one direction: a
// weight that is loaded serves them all.

override WORKGROUP: u32 = 64;
// One dispatch for all steps of the tile (the workgroup owns all units), or one for each phase of each step.
override PERSISTENT: bool = false;
override PHASE: u32 = 0;

// The cell's variant, from CellSpec.
override HAS_NORM: bool = false;
override HAS_SECOND: bool = false;
override PROJECTION: bool = false;
override WHOLE_NORM: bool = false;
override PEEPHOLE: u32 = 0; // 0 none, 1 the output gate sees the new cell state, 2 the old one
override COUPLED: u32 = 0; // 0 none, 1 forget from input, 2 input from forget
override TAKE_NEW: bool = false;
override CLIP_GATES: bool = false;
override CLIP_CELL: bool = false;
override CLIP_HIDDEN: bool = false;
override CLIP_PROJECTION: bool = false;
override ZONEOUT_HIDDEN: bool = false;
override ZONEOUT_CELL: bool = false;
override SAMPLED: bool = false;
override MASKED: bool = false;
// Backward: the gates hold products alone.
override REBUILT: bool = false;
// Forward: whether a backward will read the gates.
override KEEPS_GATES: bool = true;
// Activations of the two directions, as overrides so that the switch is decided when the pipeline is made: where both have
// the same one it does not depend on the direction.
override GATE_0: u32 = 0;
override GATE_1: u32 = 0;
override CANDIDATE_0: u32 = 1;
override CANDIDATE_1: u32 = 1;
override HIDDEN_0: u32 = 1;
override HIDDEN_1: u32 = 1;

struct Parameters {
    hidden: u32,
    state: u32,
    batch: u32,
    tokens: u32,
    // Steps of this dispatch.
    first_step: u32,
    last_step: u32,
    // The gate buffer's window.
    first_row: u32,
    gate_rows: u32,
    // Places in the table.
    offsets: u32,
    order: u32,
    // Elements of a direction's packed weights, and places of the first one's parts.
    weights_stride: u32,
    recurrent: u32,
    second: u32,
    second_inputs: u32,
    second_outputs: u32,
    peephole: u32,
    norm_recurrent: u32,
    norm_cell_weight: u32,
    norm_cell_bias: u32,
    norm_gates: u32,
    gate_bias: u32,
    projection_bias: u32,
    vectors: u32,
    vectors_len: u32,
    // Places in the state buffer; the mask may lie in another: lib/mask_*.wgsl.
    h: u32,
    recurrent_input: u32,
    mask: u32,
    c: u32,
    second_rows: u32,
    // Places of the running states in the carry: lib/rows_running.wgsl.
    running_h: u32,
    running_input: u32,
    running_c: u32,
    // Places in the gate buffers, in Gates.
    gates: u32,
    recurrent_sums: u32,
    // Places in the backward's carry, and of the output's gradient.
    d_h: u32,
    d_c: u32,
    scratch: u32,
    scratch_second: u32,
    vector_sums: u32,
    d_output: u32,
    // Of layers' steps in one dispatch: terms of the input product, and places of its weights, of the rows and the states
    // at the layer's edge.
    inputs: u32,
    input: u32,
    input_bias: u32,
    x: u32,
    y: u32,
    first_h: u32,
    first_c: u32,
    last_h: u32,
    last_c: u32,
    layer: u32,
    epsilon: f32,
    clip_gates: f32,
    clip_cell: f32,
    clip_hidden: f32,
    clip_projection: f32,
    zoneout_hidden: f32,
    zoneout_cell: f32,
    // See `bound`.
    zero: u32,
    directions: u32,
    // The array below is aligned to 16 bytes.
    padding: u32,
    // alpha, beta of gate, candidate, hidden for direction 0, then 1.
    activations: array<vec4f, 6>,
}

// What a workgroup works at: which of the dispatch's cells, and which direction.
struct Place {
    cell: u32,
    direction: u32,
}

// The sequences of a tile at a step.
struct Tile {
    cell: u32,
    direction: u32,
    step: u32,
    // The first sequence, and how many of the tile's still run.
    first: u32,
    size: u32,
    // Of the first sequence: row of the batch, of the gates (direction included), and of the states before and after.
    row: u32,
    gate_row: u32,
    previous: u32,
    next: u32,
}

// One unit of one sequence at one step.
struct Site {
    direction: u32,
    sequence: u32,
    step: u32,
    unit: u32,
    // Row of the batch, in processing order.
    row: u32,
    // The unit's place in the gate buffers, relative to their start.
    gate: u32,
    // State rows before and after the step, the direction included.
    previous: u32,
    next: u32,
}

// The uniform, `p`: lib/cell_*.wgsl.
// Buffers that a kernel does not touch are not bound; another one of its own may have that number. Binding 0 are the packed weights of all directions, seen as gates (recurrent weights): lib/weights_*.wgsl.
// The same, seen as numbers (second matrix, vectors)
@group(1) @binding(1) var<storage, read> vectors: array<PackedNumber>;
@group(1) @binding(2) var<storage, read> table: array<u32>;
// [directions, gate_rows, hidden]
@group(1) @binding(3) var<storage, read_write> gates: array<KeptGates>;
// [directions, gate_rows, hidden]; bound to the same buffer as gates where there is no whole-row normalisation
@group(1) @binding(4) var<storage, read_write> recurrent_sums: array<KeptSums>;
// h, recurrent input, mask, c, second
@group(1) @binding(5) var<storage, read_write> states: array<KeptStates>;

// What goes from step to step. The backward's: gradients of h and c of the running states, scratch, sums of vector gradients.
// The forward's, where states are kept in half precision: the running states themselves.
@group(1) @binding(6) var<storage, read_write> carry: array<f32>;
// [directions, tokens, state]: gradient of the state rows
@group(1) @binding(7) var<storage, read_write> d_output: array<f32>;

// A unit's place in the gate buffers, `gate` of its site, read and written.
fn gates_at(gate: u32) -> Gates { return Gates(gates[p.gates + gate]); }
fn put_gates(gate: u32, value: Gates) { gates[p.gates + gate] = to_KeptGates(value); }
fn sums_at(gate: u32) -> Gates { return Gates(recurrent_sums[p.recurrent_sums + gate]); }
fn put_sums(gate: u32, value: Gates) { recurrent_sums[p.recurrent_sums + gate] = to_KeptSums(value); }

fn tile_at(place: Place, first: u32, step: u32) -> Tile {
    let of_cell = cell_at(place.cell);
    let offset = table[of_cell.offsets + step];
    let running = table[of_cell.offsets + step + 1u] - offset;
    let row = offset + first;
    let states_of_direction = place.direction * (of_cell.batch + of_cell.tokens);
    let after = of_cell.batch + table[of_cell.offsets + max(step, 1u) - 1u];
    let previous = states_of_direction + first + select(after, 0u, step == 0u);
    return Tile(
        place.cell,
        place.direction,
        step,
        first,
        min(running - min(first, running), TILE),
        row,
        place.direction * of_cell.gate_rows + row - of_cell.first_row,
        previous,
        states_of_direction + of_cell.batch + row,
    );
}

// `limit`, for the end of a loop or of a kernel. Mesa's lavapipe compiles a shader anew at every dispatch, the uniform's values put
// in and loops unrolled, where nothing else decides how often a loop runs or which way is taken; here the workgroup seems to.
fn bound(direction: u32, limit: u32) -> u32 { return limit + cell_at(0u).zero * direction; }

fn site_at(tile: Tile, lane: u32, unit: u32) -> Site {
    return Site(
        tile.direction,
        tile.first + lane,
        tile.step,
        unit,
        tile.row + lane,
        (tile.gate_row + lane) * p.hidden + unit,
        tile.previous + lane,
        tile.next + lane,
    );
}

// For loads: of a sequence that has ended, those of the last that runs; nothing of it is kept.
fn running_lane(tile: Tile, lane: u32) -> u32 { return min(lane, tile.size - 1u); }

// Element `index` of a part of the direction's vectors.
fn vector_at(direction: u32, part: u32, index: u32) -> f32 {
    return f32(vectors[direction * p.weights_stride + part + index]);
}

// The four slots of a unit in a part of the direction's vectors.
fn slots_at(direction: u32, part: u32, unit: u32) -> vec4f {
    let at = direction * p.weights_stride + part + 4u * unit;
    return vec4f(f32(vectors[at]), f32(vectors[at + 1u]), f32(vectors[at + 2u]), f32(vectors[at + 3u]));
}

fn gate_activation(direction: u32, x: f32) -> f32 {
    let parameters = activation_parameters(3u * direction);
    if (GATE_0 == GATE_1) { return activate(GATE_0, parameters, x); }
    return activate(select(GATE_0, GATE_1, direction == 1u), parameters, x);
}

fn gate_derivative(direction: u32, x: f32, y: f32) -> f32 {
    let parameters = activation_parameters(3u * direction);
    if (GATE_0 == GATE_1) { return activate_derivative(GATE_0, parameters, x, y); }
    return activate_derivative(select(GATE_0, GATE_1, direction == 1u), parameters, x, y);
}

fn candidate_activation(direction: u32, x: f32) -> f32 {
    let parameters = activation_parameters(3u * direction + 1u);
    if (CANDIDATE_0 == CANDIDATE_1) { return activate(CANDIDATE_0, parameters, x); }
    return activate(select(CANDIDATE_0, CANDIDATE_1, direction == 1u), parameters, x);
}

fn candidate_derivative(direction: u32, x: f32, y: f32) -> f32 {
    let parameters = activation_parameters(3u * direction + 1u);
    if (CANDIDATE_0 == CANDIDATE_1) { return activate_derivative(CANDIDATE_0, parameters, x, y); }
    return activate_derivative(select(CANDIDATE_0, CANDIDATE_1, direction == 1u), parameters, x, y);
}

fn hidden_activation(direction: u32, x: f32) -> f32 {
    let parameters = activation_parameters(3u * direction + 2u);
    if (HIDDEN_0 == HIDDEN_1) { return activate(HIDDEN_0, parameters, x); }
    return activate(select(HIDDEN_0, HIDDEN_1, direction == 1u), parameters, x);
}

fn hidden_derivative(direction: u32, x: f32, y: f32) -> f32 {
    let parameters = activation_parameters(3u * direction + 2u);
    if (HIDDEN_0 == HIDDEN_1) { return activate_derivative(HIDDEN_0, parameters, x, y); }
    return activate_derivative(select(HIDDEN_0, HIDDEN_1, direction == 1u), parameters, x, y);
}

// A pre-activation as its activation sees it, and whether the derivative passes.
fn clipped(x: f32) -> f32 {
    if (CLIP_GATES) { return bounded(x, p.clip_gates); }
    return x;
}

fn clip_passes(x: f32) -> f32 {
    if (CLIP_GATES) { return passes(x, p.clip_gates); }
    return 1.0;
}

// A gate from its argument; `gate_slope` is its derivative with respect to that argument.
fn gate_value(direction: u32, argument: f32) -> f32 { return gate_activation(direction, clipped(argument)); }

fn gate_slope(direction: u32, argument: f32, value: f32) -> f32 {
    return gate_derivative(direction, clipped(argument), value) * clip_passes(argument);
}

fn candidate_value(direction: u32, argument: f32) -> f32 { return candidate_activation(direction, clipped(argument)); }

fn candidate_slope(direction: u32, argument: f32, value: f32) -> f32 {
    return candidate_derivative(direction, clipped(argument), value) * clip_passes(argument);
}

// Zoneout: the share of the new value; drawn, or its expectation.
fn zoneout_share(site: Site, purpose: u32, probability: f32) -> f32 {
    if (!SAMPLED) { return 1.0 - probability; }
    let place = (p.layer << 4u) | (site.direction << 3u) | purpose;
    let drawn = random_uniform(vec2u(table[0], table[1]), place, table[p.order + site.sequence], site.step, site.unit);
    return select(1.0, 0.0, drawn < probability);
}

fn hidden_share(site: Site) -> f32 {
    if (ZONEOUT_HIDDEN) { return zoneout_share(site, 3u, p.zoneout_hidden); }
    return 1.0;
}

fn cell_share(site: Site) -> f32 {
    if (ZONEOUT_CELL) { return zoneout_share(site, 4u, p.zoneout_cell); }
    return 1.0;
}

// The mix of old and new; a share of 1 or 0 does not look at the other value, whatever it is.
fn zoned(share: f32, old: f32, new_value: f32) -> f32 {
    if (share == 1.0) { return new_value; }
    if (share == 0.0) { return old; }
    return (1.0 - share) * old + share * new_value;
}

fn second_place(site: Site, unit: u32) -> u32 {
    return p.second_rows + (site.direction * p.tokens + site.row) * p.hidden + unit;
}

// An input of the second product.
fn second_at(site: Site, unit: u32) -> f32 { return f32(states[second_place(site, unit)]); }

// A unit's new state, zoned.
fn store_h(site: Site, new_h: f32) {
    var h = new_h;
    if (ZONEOUT_HIDDEN) { h = zoned(hidden_share(site), old_h(site), new_h); }
    write_h(site, h);
}

fn c_place(site: Site) -> u32 { return p.c + site.next * p.hidden + site.unit; }

fn store_c(site: Site, new_c: f32) {
    var c = new_c;
    if (ZONEOUT_CELL) { c = zoned(cell_share(site), old_c(site), new_c); }
    write_c(site, c);
}

// Places in the carry.
fn d_h_place(site: Site) -> u32 { return p.d_h + (site.direction * p.batch + site.sequence) * p.state + site.unit; }

fn d_c_place(site: Site) -> u32 { return p.d_c + (site.direction * p.batch + site.sequence) * p.hidden + site.unit; }

fn scratch_place(site: Site) -> u32 { return p.scratch + (site.direction * p.batch + site.sequence) * p.hidden + site.unit; }

fn scratch_second_place(site: Site) -> u32 {
    return p.scratch_second + (site.direction * p.batch + site.sequence) * p.hidden + site.unit;
}

fn d_output_place(site: Site) -> u32 { return p.d_output + (site.direction * p.tokens + site.row) * p.state + site.unit; }

// From the gradient of the zoned state to that of the new one; the old state's share stays in the carry.
fn take_h_gradient(site: Site, d_h: f32) -> f32 {
    let share = hidden_share(site);
    carry[d_h_place(site)] = (1.0 - share) * d_h;
    return share * d_h;
}

// Likewise for the cell state, whose gradient comes from the carry.
fn take_c_gradient(site: Site) -> f32 {
    let at = d_c_place(site);
    let d_c = carry[at];
    let share = cell_share(site);
    carry[at] = (1.0 - share) * d_c;
    return share * d_c;
}

// Adds to the sequence's sum of the gradient of element `index` of a part of the vectors.
fn add_vector_gradient(site: Site, part: u32, index: u32, gradient: f32) {
    let sequence = site.direction * p.batch + site.sequence;
    carry[p.vector_sums + sequence * p.vectors_len + part - p.vectors + index] += gradient;
}

// For the four slots of a unit.
fn add_slot_gradients(site: Site, part: u32, gradient: vec4f) {
    for (var slot = 0u; slot < 4u; slot++) {
        add_vector_gradient(site, part, 4u * site.unit + slot, gradient[slot]);
    }
}
