// result[sequence] = mean or maximum over a sequence's steps of source[row], row = offsets[step] + sorted index; zeros
// without steps. With KIND 1 winners[sequence] is the first step that has the maximum.
//
// One invocation a sequence and column walks the steps `step_start .. step_end`; later dispatches go on from what is there.

struct Params {
    source_offset: u32,
    result_offset: u32,
    winners_offset: u32,
    width: u32,
    // Sequences times width
    elements: u32,
    // In the table
    sorted_of: u32,
    lengths: u32,
    offsets: u32,
    step_start: u32,
    step_end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> table: array<u32>;
@group(1) @binding(1) var<storage, read> source: array<f32>;
@group(1) @binding(2) var<storage, read_write> result: array<f32>;
@group(1) @binding(3) var<storage, read_write> winners: array<f32>;

// 0: mean, 1: maximum
override KIND: u32 = 0u;

fn value_at(step: u32, sorted: u32, column: u32) -> f32 {
    let row = table[params.offsets + step] + sorted;
    return source[params.source_offset + row * params.width + column];
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(group, groups, local, 256u);
    if index >= params.elements {
        return;
    }
    let column = index % params.width;
    let sorted = table[params.sorted_of + index / params.width];
    let length = table[params.lengths + sorted];
    let end = min(params.step_end, length);
    var best = 0.0;
    var winner = 0.0;
    if params.step_start > 0u {
        best = result[params.result_offset + index];
    }
    if KIND == 1u {
        if params.step_start > 0u {
            winner = winners[params.winners_offset + index];
        }
        for (var step = params.step_start; step < end; step++) {
            let value = value_at(step, sorted, column);
            if step == 0u || ((value > best || is_nan(value)) && !is_nan(best)) {
                best = value;
                winner = f32(step);
            }
        }
        winners[params.winners_offset + index] = winner;
    } else {
        var sum = 0.0;
        for (var step = params.step_start; step < end; step++) {
            sum += value_at(step, sorted, column);
        }
        // Never divided by zero: without steps the sum is 0.
        best += sum / f32(max(length, 1u));
    }
    result[params.result_offset + index] = best;
}
