// Running states in the carry, for a forward whose states are kept in less precision than they run in: for each direction two
// sets of the batch's rows, of which a step reads one and writes the other. What is kept of all steps is for the layer's
// output and the backward.

// Row of a sequence in the running states before `step`.
fn running_row(direction: u32, step: u32, sequence: u32) -> u32 {
    return (2u * direction + step % 2u) * p.batch + sequence;
}

fn old_row(site: Site) -> u32 { return running_row(site.direction, site.step, site.sequence); }

fn new_row(site: Site) -> u32 { return running_row(site.direction, site.step + 1u, site.sequence); }

fn old_h(site: Site) -> f32 { return carry[p.running_h + old_row(site) * p.state + site.unit]; }

fn old_c(site: Site) -> f32 { return carry[p.running_c + old_row(site) * p.hidden + site.unit]; }

// The state as the recurrent product sees it.
fn old_input(site: Site) -> f32 { return carry[p.running_input + old_row(site) * p.state + site.unit]; }

// The same of unit `k` of a tile's sequence.
fn old_input_of(tile: Tile, lane: u32, k: u32) -> f32 {
    return carry[p.running_input + running_row(tile.direction, tile.step, tile.first + lane) * p.state + k];
}

// The new state, and what of it enters the next recurrent product.
fn write_h(site: Site, h: f32) {
    let kept = site.next * p.state + site.unit;
    let running = new_row(site) * p.state + site.unit;
    states[p.h + kept] = to_KeptStates(h);
    carry[p.running_h + running] = h;
    if (MASKED) {
        let masked = h * input_mask(site);
        states[p.recurrent_input + kept] = to_KeptStates(masked);
        carry[p.running_input + running] = masked;
    }
}

fn running_c_place(site: Site) -> u32 { return p.running_c + new_row(site) * p.hidden + site.unit; }

fn write_c(site: Site, c: f32) {
    states[c_place(site)] = to_KeptStates(c);
    carry[running_c_place(site)] = c;
}

// A new cell state that waits for `store_c`.
fn hold_c(site: Site, c: f32) { carry[running_c_place(site)] = c; }

fn held_c(site: Site) -> f32 { return carry[running_c_place(site)]; }
