// The second product.
alias second_Term = f32;
alias second_Weight = f32;
alias second_Sum = f32;
fn second_terms(tile: Tile) -> u32 { return cell_at(tile.cell).second_inputs; }
fn second_units() -> u32 { return p.second_outputs; }
fn second_term(tile: Tile, lane: u32, k: u32) -> f32 { return second_at(site_at(tile, lane, 0u), k); }
fn second_weight(tile: Tile, unit: u32, k: u32) -> f32 {
    return vector_at(tile.direction, p.second, k * p.second_outputs + unit);
}
fn second_times(weight: f32, term: f32) -> f32 { return weight * term; }

fn second_phase(tile: Tile, unit: u32, thread: u32) {
    let sums = second_sums_of(tile, unit, thread);
    if (unit < p.second_outputs) {
        for (var lane = 0u; lane < tile.size; lane++) {
            second_unit(site_at(tile, lane, unit), second_pick(sums, lane));
        }
    }
}
