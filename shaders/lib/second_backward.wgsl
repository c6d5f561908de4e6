// The second product: of the gradients of its results (the projection's, or the reset-before candidate's).
alias second_Term = f32;
alias second_Weight = f32;
alias second_Sum = f32;
fn second_terms(tile: Tile) -> u32 { return cell_at(tile.cell).second_outputs; }
fn second_units() -> u32 { return p.second_inputs; }
fn second_term(tile: Tile, lane: u32, n: u32) -> f32 {
    let site = site_at(tile, lane, n);
    if (PROJECTION) { return d_output[d_output_place(site)]; }
    return candidate_slot(gates_at(site.gate));
}
fn second_weight(tile: Tile, unit: u32, n: u32) -> f32 {
    return vector_at(tile.direction, p.second, n * p.second_inputs + unit);
}
fn second_times(weight: f32, term: f32) -> f32 { return weight * term; }

fn second_phase(tile: Tile, unit: u32, thread: u32) {
    let sums = second_sums_of(tile, unit, thread);
    if (unit < p.second_inputs) {
        for (var lane = 0u; lane < tile.size; lane++) {
            second_gradient_unit(site_at(tile, lane, unit), second_pick(sums, lane));
        }
    }
}
