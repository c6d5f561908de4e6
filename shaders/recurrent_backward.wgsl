// The recurrence of a layer, backward: from the gradients of the state rows to those of the gates, last step first.
//
// A step begins with dh(t) = what the step after left in the carry + its gates' gradients times the transposed recurrent
// matrix + the output's gradient, and ends with the gradient of the gates. The product of a chunk's first step has no
// step before it to begin, so a last phase (flush) puts it into the carry. Phases, barriers and the two ways to
// dispatch them are as in recurrent_forward.wgsl.

// Units of a product staged at a time, for each sequence of the tile.
const CHUNK: u32 = 128u;
var<workgroup> sh_a: array<Gates, CHUNK>;
var<workgroup> sh_b: array<Gates, CHUNK>;
var<workgroup> sh_c: array<Gates, CHUNK>;
var<workgroup> sh_d: array<Gates, CHUNK>;

fn tile_size(tile: Tile, step: u32) -> u32 { return min(running(step) - tile.first, TILE); }

// The gradient of a unit's recurrent products; zero for a sequence that does not run at `step`.
fn sum_gradient(tile: Tile, lane: u32, step: u32, size: u32, unit: u32) -> Gates {
    if (lane >= size) { return Gates(); }
    let at = site_at(tile, lane, step, unit).gate;
    if (WHOLE_NORM) { return recurrent_sums[p.recurrent_sums + at]; }
    return gates[p.gates + at];
}

// For each sequence the gradient of recurrent input `unit` of `step`, of whose tile `size` sequences run.
fn input_gradient(tile: Tile, step: u32, size: u32, unit: u32, thread: u32) -> vec4f {
    var sums = vec4f();
    let weights_at = (tile.direction * p.weights_stride + p.recurrent) / SLOTS + unit;
    for (var base = 0u; base < p.hidden; base += CHUNK) {
        let count = min(CHUNK, p.hidden - base);
        workgroupBarrier(); // the chunk before has been used
        for (var j = thread; j < count; j += WORKGROUP) {
            sh_a[j] = sum_gradient(tile, 0u, step, size, base + j);
            sh_b[j] = sum_gradient(tile, 1u, step, size, base + j);
            sh_c[j] = sum_gradient(tile, 2u, step, size, base + j);
            sh_d[j] = sum_gradient(tile, 3u, step, size, base + j);
        }
        workgroupBarrier(); // the chunk is there
        if (unit < p.state) {
            for (var j = 0u; j < count; j++) {
                let weight = weights[weights_at + (base + j) * p.state];
                sums += vec4f(
                    contract(weight, sh_a[j]),
                    contract(weight, sh_b[j]),
                    contract(weight, sh_c[j]),
                    contract(weight, sh_d[j]),
                );
            }
        }
    }
    return sums;
}

// Begins step `step`: `after` is whether the step after it is in this chunk.
fn state_phase(tile: Tile, step: u32, after: bool, unit: u32, thread: u32) {
    var sums = vec4f();
    if (after) {
        let after_running = running(step + 1u);
        if (after_running > tile.first) {
            sums = input_gradient(tile, step + 1u, min(after_running - tile.first, TILE), unit, thread);
        }
    }
    if (unit < p.state) {
        for (var lane = 0u; lane < tile_size(tile, step); lane++) {
            let site = site_at(tile, lane, step, unit);
            let d_h = carry[d_h_place(site)] + sums[lane] * input_mask(site) + d_output[d_output_place(site)];
            state_gradient_unit(site, d_h);
        }
    }
}

// Puts the product of the chunk's first step into the carry.
fn flush_phase(tile: Tile, unit: u32, thread: u32) {
    let step = p.first_step;
    let size = tile_size(tile, step);
    let sums = input_gradient(tile, step, size, unit, thread);
    if (unit < p.state) {
        for (var lane = 0u; lane < size; lane++) {
            let site = site_at(tile, lane, step, unit);
            carry[d_h_place(site)] += sums[lane] * input_mask(site);
        }
    }
}

// The gradient of second result n: the projection's, or the reset-before candidate's.
fn second_result_gradient(tile: Tile, lane: u32, step: u32, n: u32) -> f32 {
    let site = site_at(tile, lane, step, n);
    if (PROJECTION) { return d_output[d_output_place(site)]; }
    return candidate_slot(gates[p.gates + site.gate]);
}

fn second_phase(tile: Tile, step: u32, size: u32, unit: u32, thread: u32) {
    var sums = vec4f();
    for (var base = 0u; base < p.second_outputs; base += CHUNK) {
        let count = min(CHUNK, p.second_outputs - base);
        workgroupBarrier(); // the chunk before has been used
        for (var n = thread; n < count; n += WORKGROUP) {
            var gradient = vec4f();
            for (var lane = 0u; lane < size; lane++) {
                gradient[lane] = second_result_gradient(tile, lane, step, base + n);
            }
            sh_second[n] = gradient;
        }
        workgroupBarrier(); // the chunk is there
        if (unit < p.second_inputs) {
            for (var n = 0u; n < count; n++) {
                sums += vector_at(tile.direction, p.second, (base + n) * p.second_inputs + unit) * sh_second[n];
            }
        }
    }
    if (unit < p.second_inputs) {
        for (var lane = 0u; lane < size; lane++) {
            second_gradient_unit(site_at(tile, lane, step, unit), sums[lane]);
        }
    }
}
var<workgroup> sh_second: array<vec4f, CHUNK>;

fn norm_phase(tile: Tile, step: u32, size: u32, thread: u32) {
    for (var lane = 0u; lane < size; lane++) {
        norm_backward(tile, lane, step, thread);
    }
}

fn all_phases(tile: Tile, step: u32, size: u32, thread: u32) {
    for (var base = 0u; base < p.state; base += WORKGROUP) {
        state_phase(tile, step, step + 1u < p.last_step, base + thread, thread);
    }
    storageBarrier(); // the gates' gradients, or what the next phase reads, are written
    if (HAS_SECOND) {
        for (var base = 0u; base < p.second_inputs; base += WORKGROUP) {
            second_phase(tile, step, size, base + thread, thread);
        }
        storageBarrier();
    }
    if (HAS_NORM) {
        norm_phase(tile, step, size, thread);
        storageBarrier();
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let tile = Tile(group.z, group.y * TILE);
    if (PERSISTENT) {
        if (running(p.first_step) <= tile.first) { return; }
        for (var step = p.last_step; step > p.first_step; step--) {
            // Sequences are sorted: the tile's first is the last to end.
            if (running(step - 1u) > tile.first) {
                all_phases(tile, step - 1u, tile_size(tile, step - 1u), thread);
            }
        }
        for (var base = 0u; base < p.state; base += WORKGROUP) {
            flush_phase(tile, base + thread, thread);
        }
        return;
    }
    let step = p.first_step + relative_step.value;
    if (running(step) <= tile.first) { return; }
    let size = tile_size(tile, step);
    let unit = group.x * WORKGROUP + thread;
    if (PHASE == 0u) { state_phase(tile, step, step + 1u < p.last_step, unit, thread); }
    if (PHASE == 1u) { norm_phase(tile, step, size, thread); }
    if (PHASE == 2u) { second_phase(tile, step, size, unit, thread); }
    if (PHASE == 3u) { flush_phase(tile, unit, thread); }
}
