// A cell without a second product.
fn second_phase(tile: Tile, unit: u32, thread: u32) {}
