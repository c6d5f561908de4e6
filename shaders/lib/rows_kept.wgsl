// The states of all steps: a step reads the row of the one before, and writes its own.

fn old_h(site: Site) -> f32 { return f32(states[p.h + site.previous * p.state + site.unit]); }

fn old_c(site: Site) -> f32 { return f32(states[p.c + site.previous * p.hidden + site.unit]); }

// The state as the recurrent product sees it.
fn old_input(site: Site) -> f32 { return f32(states[p.recurrent_input + site.previous * p.state + site.unit]); }

// The same of unit `k` of a tile's sequence.
fn old_input_of(tile: Tile, lane: u32, k: u32) -> f32 {
    return f32(states[p.recurrent_input + (tile.previous + lane) * p.state + k]);
}

// The new state, and what of it enters the next recurrent product.
fn write_h(site: Site, h: f32) {
    let at = site.next * p.state + site.unit;
    states[p.h + at] = to_KeptStates(h);
    if (MASKED) { states[p.recurrent_input + at] = to_KeptStates(h * input_mask(site)); }
}

fn write_c(site: Site, c: f32) { states[c_place(site)] = to_KeptStates(c); }

// A new cell state that waits for `store_c`.
fn hold_c(site: Site, c: f32) { write_c(site, c); }

fn held_c(site: Site) -> f32 { return f32(states[c_place(site)]); }
