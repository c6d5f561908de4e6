// A cell without normalisation.
fn norm_forward(tile: Tile, lane: u32, thread: u32) {}
fn norm_backward(tile: Tile, lane: u32, thread: u32) {}
