// Rows of all steps in the gate and state buffers.

// The input's share of a unit's arguments.
fn projection_at(site: Site) -> Gates { return gates_at(site.gate); }

// What a backward will start from.
fn keep_arguments(site: Site, arguments: Gates) {
    if (KEEPS_GATES) { put_gates(site.gate, arguments); }
}

fn old_h(site: Site) -> f32 { return states[p.h + site.previous * p.state + site.unit]; }

fn old_c(site: Site) -> f32 { return states[p.c + site.previous * p.hidden + site.unit]; }

// The state as the recurrent product sees it.
fn old_input(site: Site) -> f32 { return states[p.recurrent_input + site.previous * p.state + site.unit]; }

fn input_mask(site: Site) -> f32 {
    if (MASKED) { return states[p.mask + (site.direction * p.batch + site.sequence) * p.state + site.unit]; }
    return 1.0;
}

// The new state, and what of it enters the next recurrent product.
fn write_h(site: Site, h: f32) {
    let at = site.next * p.state + site.unit;
    states[p.h + at] = h;
    if (MASKED) { states[p.recurrent_input + at] = h * input_mask(site); }
}

fn write_c(site: Site, c: f32) { states[c_place(site)] = c; }

// An input of the second product.
fn write_second(site: Site, value: f32) { states[second_place(site, site.unit)] = value; }
