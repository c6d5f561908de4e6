// Layers of one direction over a batch of single steps, each the input of the next, their input products included: what a
// stream runs for each of its steps, where the time goes into the number of dispatches.
//
// A thread owns a unit, as in recurrent_forward.wgsl; here both products come from the layer's edge. The workgroups share the
// units of the last layer. Each needs all states of the layers below, and no workgroup can wait for another: every one
// computes them for itself and keeps them in its memory.
//
// Rust writes LAYERS and `run`, which names each layer: its number is a constant, and so is the place of its parameters.

// Elements of the memory for states.
override KEPT: u32 = 1;

// The states of a layer and of the one below it in turns, [2, TILE, state].
var<workgroup> sh_h: array<f32, KEPT>;

alias recurrent_Term = f32;
alias recurrent_Weight = Products;
alias recurrent_Sum = Products;
fn recurrent_terms(tile: Tile) -> u32 { return cell_at(tile.cell).state; }
fn recurrent_units() -> u32 { return p.hidden; }
fn recurrent_term(tile: Tile, lane: u32, k: u32) -> f32 {
    return first_h[p.first_h + (tile.first + lane) * p.state + k];
}
fn recurrent_weight(tile: Tile, unit: u32, k: u32) -> Products {
    return recurrent_products(weight_at(p.recurrent / SLOTS + k * p.hidden + unit));
}
fn recurrent_times(weight: Products, term: f32) -> Products { return weight * term; }

// The first layer's input.
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

// Another layer's input: the states of the one below.
alias below_Term = f32;
alias below_Weight = Products;
alias below_Sum = Products;
fn below_terms(tile: Tile) -> u32 { return cell_at(tile.cell).state; }
fn below_units() -> u32 { return p.hidden; }
fn below_term(tile: Tile, lane: u32, k: u32) -> f32 { return sh_h[kept_place(tile.cell - 1u, lane) + k]; }
fn below_weight(tile: Tile, unit: u32, k: u32) -> Products { return input_weight(tile, unit, k); }
fn below_times(weight: Products, term: f32) -> Products { return weight * term; }

fn kept_place(layer: u32, lane: u32) -> u32 { return (layer % 2u * TILE + lane) * p.state; }

fn layer_units(tile: Tile, unit: u32, thread: u32) {
    let of_state = recurrent_sums_of(tile, unit, thread);
    var of_input: input_Sums;
    var of_below: below_Sums;
    if (tile.cell == 0u) {
        of_input = input_sums_of(tile, unit, thread);
    } else {
        of_below = below_sums_of(tile, unit, thread);
    }
    if (unit < p.hidden) {
        for (var lane = 0u; lane < tile.size; lane++) {
            let entered = input_pick(of_input, lane) + below_pick(of_below, lane);
            let sum = input_gates(entered) + recurrent_gates(recurrent_pick(of_state, lane));
            recurrent_unit(site_at(tile, lane, unit), sum);
        }
    }
}

fn run_layer(layer: u32, group: vec3u, thread: u32) {
    enter_cell(layer);
    is_last = layer + 1u == LAYERS;
    is_kept = is_last || group.x == 0u;
    let tile = tile_at(Place(layer, group.z), group.y * TILE, 0u);
    if (layer + 1u == LAYERS) {
        layer_units(tile, group.x * WORKGROUP + thread, thread);
        return;
    }
    for (var base = 0u; base < bound(group.z, cell_at(layer).hidden); base += WORKGROUP) {
        layer_units(tile, base + thread, thread);
    }
    workgroupBarrier(); // the states that the next layer reads are there, and those that it replaces have been read
}
