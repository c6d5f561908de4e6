// A layer of one direction over a batch of single steps, its input product included: what a stream runs for each of its
// steps, where the time goes into the number of dispatches.
//
// A thread owns a unit, as in recurrent_forward.wgsl; here both products come from the layer's edge.

alias recurrent_Term = f32;
alias recurrent_Weight = Products;
alias recurrent_Sum = Products;
fn recurrent_terms(tile: Tile) -> u32 { return cell_at(tile.cell).state; }
fn recurrent_units() -> u32 { return p.hidden; }
fn recurrent_term(tile: Tile, lane: u32, k: u32) -> f32 {
    return first_h[p.first_h + edge_row(tile.first + lane) * p.state + k];
}
fn recurrent_weight(tile: Tile, unit: u32, k: u32) -> Products {
    return recurrent_products(weight_at(p.recurrent / SLOTS + k * p.hidden + unit));
}
fn recurrent_times(weight: Products, term: f32) -> Products { return weight * term; }

alias input_Term = f32;
alias input_Weight = Products;
alias input_Sum = Products;
fn input_terms(tile: Tile) -> u32 { return cell_at(tile.cell).inputs; }
fn input_units() -> u32 { return p.hidden; }
fn input_term(tile: Tile, lane: u32, k: u32) -> f32 { return f32(x[p.x + (tile.row + lane) * p.inputs + k]); }
fn input_weight(tile: Tile, unit: u32, k: u32) -> Products {
    return input_products(weight_at(p.input / SLOTS + k * p.hidden + unit));
}
fn input_times(weight: Products, term: f32) -> Products { return weight * term; }

fn run(group: vec3u, thread: u32) {
    let tile = tile_at(enter(group.z), group.y * TILE, 0u);
    let unit = group.x * WORKGROUP + thread;
    let of_input = input_sums_of(tile, unit, thread);
    let of_state = recurrent_sums_of(tile, unit, thread);
    if (unit < p.hidden) {
        for (var lane = 0u; lane < tile.size; lane++) {
            let sum = input_gates(input_pick(of_input, lane)) + recurrent_gates(recurrent_pick(of_state, lane));
            recurrent_unit(site_at(tile, lane, unit), sum);
        }
    }
}
