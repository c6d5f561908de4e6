// The recurrence of a layer, forward: h(t) from h(t - 1) for the four sequences of a tile.
//
// A step has up to three phases: the recurrent product with the unit's arithmetic; for in-cell normalisation, a
// pass over whole rows; for a projection or the reset-before GRU, a second product. Persistent in time, a workgroup walks all
// steps of its tile and separates phases with barriers: what one phase writes to storage, another thread of the
// same workgroup reads in the next. Otherwise each phase of each step is a dispatch, with units spread over workgroups.
//
// A thread owns a unit: it multiplies the unit's gates (one vec4 load) with the inputs of the tile's four sequences (one
// vec4 load from workgroup memory), so 16 products for two loads.

// Inputs of a product staged at a time: [CHUNK], one component for each sequence of the tile.
const CHUNK: u32 = 256u;
var<workgroup> sh_inputs: array<vec4f, CHUNK>;

struct Sums {
    a: Gates,
    b: Gates,
    c: Gates,
    d: Gates,
}

fn pick(sums: Sums, lane: u32) -> Gates {
    switch lane {
        case 0u: { return sums.a; }
        case 1u: { return sums.b; }
        case 2u: { return sums.c; }
        default: { return sums.d; }
    }
}

// Sequences of the tile that still run.
fn tile_size(tile: Tile, step: u32) -> u32 { return min(running(step) - tile.first, TILE); }

// The tile's recurrent inputs number k; zero for a sequence that has ended.
fn recurrent_inputs(tile: Tile, step: u32, size: u32, k: u32) -> vec4f {
    var inputs = vec4f();
    for (var lane = 0u; lane < size; lane++) {
        let row = tile.direction * (p.batch + p.tokens) + previous_row(tile.first + lane, step);
        inputs[lane] = states[p.recurrent_input + row * p.state + k];
    }
    return inputs;
}

fn recurrent_product(tile: Tile, step: u32, size: u32, unit: u32, thread: u32) -> Sums {
    var sums = Sums();
    let weights_at = (tile.direction * p.weights_stride + p.recurrent) / SLOTS + unit;
    for (var base = 0u; base < p.state; base += CHUNK) {
        let count = min(CHUNK, p.state - base);
        workgroupBarrier(); // the chunk before has been used
        for (var k = thread; k < count; k += WORKGROUP) {
            sh_inputs[k] = recurrent_inputs(tile, step, size, base + k);
        }
        workgroupBarrier(); // the chunk is there
        if (unit < p.hidden) {
            for (var k = 0u; k < count; k++) {
                let weight = weights[weights_at + (base + k) * p.hidden];
                let input = sh_inputs[k];
                sums.a += weight * input.x;
                sums.b += weight * input.y;
                sums.c += weight * input.z;
                sums.d += weight * input.w;
            }
        }
    }
    return sums;
}

fn recurrent_phase(tile: Tile, step: u32, size: u32, unit: u32, thread: u32) {
    let sums = recurrent_product(tile, step, size, unit, thread);
    if (unit < p.hidden) {
        for (var lane = 0u; lane < size; lane++) {
            recurrent_unit(site_at(tile, lane, step, unit), pick(sums, lane));
        }
    }
}

// The second product's inputs number k.
fn second_inputs(tile: Tile, step: u32, size: u32, k: u32) -> vec4f {
    var inputs = vec4f();
    for (var lane = 0u; lane < size; lane++) {
        inputs[lane] = states[second_place(site_at(tile, lane, step, 0u), k)];
    }
    return inputs;
}

fn second_phase(tile: Tile, step: u32, size: u32, unit: u32, thread: u32) {
    var sums = vec4f();
    for (var base = 0u; base < p.second_inputs; base += CHUNK) {
        let count = min(CHUNK, p.second_inputs - base);
        workgroupBarrier(); // the chunk before has been used
        for (var k = thread; k < count; k += WORKGROUP) {
            sh_inputs[k] = second_inputs(tile, step, size, base + k);
        }
        workgroupBarrier(); // the chunk is there
        if (unit < p.second_outputs) {
            for (var k = 0u; k < count; k++) {
                sums += vector_at(tile.direction, p.second, (base + k) * p.second_outputs + unit) * sh_inputs[k];
            }
        }
    }
    if (unit < p.second_outputs) {
        for (var lane = 0u; lane < size; lane++) {
            second_unit(site_at(tile, lane, step, unit), sums[lane]);
        }
    }
}

fn norm_phase(tile: Tile, step: u32, size: u32, thread: u32) {
    for (var lane = 0u; lane < size; lane++) {
        norm_forward(tile, lane, step, thread);
    }
}

fn all_phases(tile: Tile, step: u32, size: u32, thread: u32) {
    for (var base = 0u; base < p.hidden; base += WORKGROUP) {
        recurrent_phase(tile, step, size, base + thread, thread);
    }
    storageBarrier(); // the step's states, or what the next phase reads, are written
    if (HAS_NORM) {
        norm_phase(tile, step, size, thread);
        storageBarrier();
    }
    if (HAS_SECOND) {
        for (var base = 0u; base < p.second_outputs; base += WORKGROUP) {
            second_phase(tile, step, size, base + thread, thread);
        }
        storageBarrier();
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let tile = Tile(group.z, group.y * TILE);
    if (PERSISTENT) {
        for (var step = p.first_step; step < p.last_step; step++) {
            // Sequences are sorted: when the tile's first has ended, all have.
            if (running(step) <= tile.first) { break; }
            all_phases(tile, step, tile_size(tile, step), thread);
        }
        return;
    }
    let step = p.first_step + relative_step.value;
    if (running(step) <= tile.first) { return; }
    let size = tile_size(tile, step);
    let unit = group.x * WORKGROUP + thread;
    if (PHASE == 0u) { recurrent_phase(tile, step, size, unit, thread); }
    if (PHASE == 1u) { norm_phase(tile, step, size, thread); }
    if (PHASE == 2u) { second_phase(tile, step, size, unit, thread); }
}
