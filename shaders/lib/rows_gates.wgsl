// Rows of all steps in the gate buffers, and what goes from a step's first product to its second.

// The input's share of a unit's arguments.
fn projection_at(site: Site) -> Gates { return gates_at(site.gate); }

// What a backward will start from.
fn keep_arguments(site: Site, arguments: Gates) {
    if (KEEPS_GATES) { put_gates(site.gate, arguments); }
}

// An input of the second product.
fn write_second(site: Site, value: f32) { states[second_place(site, site.unit)] = to_KeptStates(value); }
