// The recurrence of a layer, backward: from the gradients of the state rows to those of the gates, last step first.
//
// A step begins with dh(t) = what the step after left in the carry + its gates' gradients times the transposed recurrent
// matrix + the output's gradient, and ends with the gradient of the gates. The product of a chunk's first step has no
// step before it to begin, so a last phase (flush) puts it into the carry. Phases, barriers and the two ways to
// dispatch them are as in recurrent_forward.wgsl, and so are the words.
//
//     for each step t of the tile, last first, each unit u of each sequence b that runs at t:
//         dh       = dy(t)[b, u] + carried dh + sum over gates j of U[j, u] * dgates(t + 1)[b, j]
//         dgates(t), carried dc, carried dh = derivative of the cell at its kept gates, times dh and carried dc
//     flush: after the chunk's first step, the product with its dgates goes into the carried dh
//
// The gradients of the weights are matrix products over all dgates, and no part of this kernel.

// The recurrent product: of the gradients of a step's gates, for UNITS elements of the state before it.
alias recurrent_Term = Products;
alias recurrent_Weight = UnitWeights;
alias recurrent_Sum = UnitSums;
fn recurrent_terms(tile: Tile) -> u32 { return cell_at(tile.cell).hidden; }
fn recurrent_units() -> u32 { return thread_units(p.state); }
fn recurrent_term(tile: Tile, lane: u32, j: u32) -> Products {
    let at = (tile.gate_row + lane) * p.hidden + j;
    if (WHOLE_NORM) { return recurrent_products(sums_at(at)); }
    return recurrent_products(gates_at(at));
}
fn recurrent_weight(tile: Tile, unit: u32, j: u32) -> UnitWeights {
    let at = (tile.direction * p.weights_stride + p.recurrent) / SLOTS + j * p.state;
    return unit_weights(at, unit, p.state);
}
fn recurrent_times(weights: UnitWeights, term: Products) -> UnitSums { return unit_products(weights, term); }

// Threads that the elements of a state take.
fn thread_units(state: u32) -> u32 { return (state + UNITS - 1u) / UNITS; }

// Begins a step; `next` is the tile at the step after, of size 0 if that is not in this chunk.
fn state_phase(tile: Tile, next: Tile, unit: u32, thread: u32) {
    var sums: recurrent_Sums;
    if (next.size > 0u) { sums = recurrent_sums_of(next, unit, thread); }
    for (var lane = 0u; lane < tile.size; lane++) {
        let of_lane = recurrent_pick(sums, lane);
        for (var index = UNITS * unit; index < min(UNITS * (unit + 1u), p.state); index++) {
            let site = site_at(tile, lane, index);
            let sum = select(0.0, unit_sum(of_lane, index % UNITS), lane < next.size);
            let d_h = carry[d_h_place(site)] + sum * input_mask(site) + d_output[d_output_place(site)];
            state_gradient_unit(site, d_h);
        }
    }
}

// Puts the product of the chunk's first step into the carry.
fn flush_phase(tile: Tile, unit: u32, thread: u32) {
    let sums = recurrent_sums_of(tile, unit, thread);
    for (var lane = 0u; lane < tile.size; lane++) {
        let of_lane = recurrent_pick(sums, lane);
        for (var index = UNITS * unit; index < min(UNITS * (unit + 1u), p.state); index++) {
            let site = site_at(tile, lane, index);
            carry[d_h_place(site)] += unit_sum(of_lane, index % UNITS) * input_mask(site);
        }
    }
}

fn norm_phase(tile: Tile, thread: u32) {
    for (var lane = 0u; lane < tile.size; lane++) {
        norm_backward(tile, lane, thread);
    }
}

fn all_phases(tile: Tile, next: Tile, thread: u32) {
    let of_cell = cell_at(tile.cell);
    for (var base = 0u; base < bound(tile.direction, thread_units(of_cell.state)); base += WORKGROUP) {
        state_phase(tile, next, base + thread, thread);
    }
    storageBarrier(); // the gates' gradients, or what the next phase reads, are written
    if (HAS_SECOND) {
        for (var base = 0u; base < bound(tile.direction, of_cell.second_inputs); base += WORKGROUP) {
            second_phase(tile, base + thread, thread);
        }
        storageBarrier();
    }
    if (HAS_NORM) {
        norm_phase(tile, thread);
        storageBarrier();
    }
}

// The tile at the step after `step`, of size 0 if that is not in this chunk.
fn next_tile(place: Place, first: u32, step: u32) -> Tile {
    if (step + 1u == bound(place.direction, cell_at(place.cell).last_step)) { return Tile(); }
    return tile_at(place, first, step + 1u);
}

fn run(group: vec3u, thread: u32) {
    let place = enter(group.z);
    let of_cell = cell_at(place.cell);
    let first = group.y * TILE;
    let end = bound(place.direction, of_cell.last_step);
    if (of_cell.first_step >= end) { return; } // another cell of the dispatch has more
    if (PERSISTENT) {
        for (var step = of_cell.last_step; step > bound(place.direction, of_cell.first_step); step--) {
            let tile = tile_at(place, first, step - 1u);
            // Sequences are sorted: the tile's first is the last to end.
            if (tile.size > 0u) { all_phases(tile, next_tile(place, first, step - 1u), thread); }
        }
        let tile = tile_at(place, first, of_cell.first_step);
        if (tile.size == 0u) { return; }
        for (var base = 0u; base < bound(tile.direction, thread_units(of_cell.state)); base += WORKGROUP) {
            flush_phase(tile, base + thread, thread);
        }
        return;
    }
    let step = of_cell.first_step + relative_step.value;
    if (step >= end) { return; }
    let tile = tile_at(place, first, step);
    if (tile.size == 0u) { return; }
    let unit = group.x * WORKGROUP + thread;
    if (PHASE == 0u) { state_phase(tile, next_tile(place, first, step), unit, thread); }
    if (PHASE == 1u) { norm_phase(tile, thread); }
    if (PHASE == 2u) { second_phase(tile, unit, thread); }
    if (PHASE == 3u) { flush_phase(tile, unit, thread); }
}
