// The recurrence of a layer, forward: h(t) from h(t - 1) for the sequences of a tile.
//
// A step has up to three phases: the recurrent product with the unit's arithmetic; for in-cell normalisation, a
// pass over whole rows; for a projection or the reset-before GRU, a second product. Persistent in time, a workgroup walks all
// steps of its tile and separates phases with barriers: what one phase writes to storage, another thread of the
// same workgroup reads in the next. Otherwise each phase of each step is a dispatch, with units spread over workgroups.
//
// Glossary. Unit: an element of the hidden state. Gates of a unit: its parts of the pre-activations, side by side. Row: a
// timestep of a sequence. Tile: the sequences that a workgroup takes. Lane: a sequence of a tile. Term: a factor of a sum.
//
//     for each step t of the tile, each unit u of each sequence b that still runs:
//         sum      = sum over k of U[u, k] * h(t - 1)[b, k]        the recurrent product, for all gates of u
//         gates    = x(t)[b, u] + sum                              x: the input's products, computed before
//         c(t), h(t) = cell(gates, c(t - 1), h(t - 1))             cell/*.wgsl, such as, for the LSTM with gates i f g o,
//                                                                    c = s(f) c' + s(i) tanh(g), h = s(o) tanh(c)
//         keep gates for the backward, h(t) and c(t) for the next step
//         with a projection: h(t) = P h(t); with reset before: the candidate's product U (r * h(t - 1)), then h(t)
//
// A thread owns a unit: each of its weights (the gates side by side) is loaded once for the tile's sequences.
// lib/product_*.wgsl has the loops.

// The recurrent product: of the states before the step, for a unit's gates.
alias recurrent_Term = f32;
alias recurrent_Weight = Products;
alias recurrent_Sum = Products;
fn recurrent_terms(tile: Tile) -> u32 { return cell_at(tile.cell).state; }
fn recurrent_units() -> u32 { return p.hidden; }
fn recurrent_term(tile: Tile, lane: u32, k: u32) -> f32 { return old_input_of(tile, lane, k); }
fn recurrent_weight(tile: Tile, unit: u32, k: u32) -> Products {
    let at = (tile.direction * p.weights_stride + p.recurrent) / SLOTS + k * p.hidden + unit;
    return recurrent_products(weight_at(at));
}
fn recurrent_times(weight: Products, term: f32) -> Products { return weight * term; }

fn recurrent_phase(tile: Tile, unit: u32, thread: u32) {
    let sums = recurrent_sums_of(tile, unit, thread);
    if (unit < p.hidden) {
        for (var lane = 0u; lane < tile.size; lane++) {
            recurrent_unit(site_at(tile, lane, unit), recurrent_gates(recurrent_pick(sums, lane)));
        }
    }
}

fn norm_phase(tile: Tile, thread: u32) {
    for (var lane = 0u; lane < tile.size; lane++) {
        norm_forward(tile, lane, thread);
    }
}

fn all_phases(tile: Tile, thread: u32) {
    let of_cell = cell_at(tile.cell);
    for (var base = 0u; base < bound(tile.direction, of_cell.hidden); base += WORKGROUP) {
        recurrent_phase(tile, base + thread, thread);
    }
    storageBarrier(); // the step's states, or what the next phase reads, are written
    if (HAS_NORM) {
        norm_phase(tile, thread);
        storageBarrier();
    }
    if (HAS_SECOND) {
        for (var base = 0u; base < bound(tile.direction, of_cell.second_outputs); base += WORKGROUP) {
            second_phase(tile, base + thread, thread);
        }
        storageBarrier();
    }
}

fn run(group: vec3u, thread: u32) {
    let place = enter(group.z);
    let of_cell = cell_at(place.cell);
    let first = group.y * TILE;
    if (PERSISTENT) {
        for (var step = of_cell.first_step; step < bound(place.direction, of_cell.last_step); step++) {
            let tile = tile_at(place, first, step);
            // Sequences are sorted: when the tile's first has ended, all have.
            if (tile.size == 0u) { break; }
            all_phases(tile, thread);
        }
        return;
    }
    let step = of_cell.first_step + relative_step.value;
    if (step >= bound(place.direction, of_cell.last_step)) { return; } // another cell of the dispatch has more
    let tile = tile_at(place, first, step);
    if (tile.size == 0u) { return; }
    let unit = group.x * WORKGROUP + thread;
    if (PHASE == 0u) { recurrent_phase(tile, unit, thread); }
    if (PHASE == 1u) { norm_phase(tile, thread); }
    if (PHASE == 2u) { second_phase(tile, unit, thread); }
}
