// Of rows of logits x with one class each: with q_k = c_k ((1 - s) [k = class] + s / classes) and share = weight of the row /
// sum of the weights of all rows' classes,
//   gradient[r, k] = share (sum(q) softmax(x)_k - q_k),
//   scratch[group] = sum over the group's rows of share * sum over k of q_k (ln(sum over j of e^(x_j - max)) - (x_k - max)):
// the first stage, see sum_partials.wgsl.
//
// LANES invocations a row, a power of two, 256 / LANES rows a workgroup at a time. A workgroup takes every `groups`-th such
// set of rows. The order of every sum is fixed by the number of classes.

struct Params {
    logits_offset: u32,
    expected_offset: u32,
    weights_offset: u32,
    class_weights_offset: u32,
    gradient_offset: u32,
    rows: u32,
    classes: u32,
    // Where loss_share.wgsl left its result
    share_at: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> logits: array<f32>;
@group(1) @binding(1) var<storage, read> expected: array<f32>;
@group(1) @binding(2) var<storage, read> weights: array<f32>;
@group(1) @binding(3) var<storage, read> class_weights: array<f32>;
@group(1) @binding(4) var<storage, read_write> gradient: array<f32>;
@group(1) @binding(5) var<storage, read_write> scratch: array<f32>;

override LANES: u32 = 256u;
override HAS_WEIGHTS: bool = false;
override HAS_CLASS_WEIGHTS: bool = false;

var<workgroup> sh_lanes: array<vec2<f32>, 256>;

// The maximum over the lanes of each row. To be called by all invocations.
fn lanes_max(value: f32, local: u32) -> f32 {
    sh_lanes[local] = vec2<f32>(value, 0.0);
    // All values are there.
    workgroupBarrier();
    for (var stride = LANES / 2u; stride > 0u; stride = stride >> 1u) {
        if local % LANES < stride {
            sh_lanes[local].x = max(sh_lanes[local].x, sh_lanes[local + stride].x);
        }
        // This round is complete before the next.
        workgroupBarrier();
    }
    let result = sh_lanes[local - local % LANES].x;
    // All have read it before another call overwrites it.
    workgroupBarrier();
    return result;
}

// Likewise two sums.
fn lanes_sum(value: vec2<f32>, local: u32) -> vec2<f32> {
    sh_lanes[local] = value;
    // All values are there.
    workgroupBarrier();
    for (var stride = LANES / 2u; stride > 0u; stride = stride >> 1u) {
        if local % LANES < stride {
            sh_lanes[local] += sh_lanes[local + stride];
        }
        // This round is complete before the next.
        workgroupBarrier();
    }
    let result = sh_lanes[local - local % LANES];
    // All have read it before another call overwrites it.
    workgroupBarrier();
    return result;
}

// q_k
fn wanted(k: u32, class_number: u32) -> f32 {
    var share = params.smoothing / f32(params.classes);
    if k == class_number {
        share += 1.0 - params.smoothing;
    }
    if HAS_CLASS_WEIGHTS {
        share *= class_weights[params.class_weights_offset + k];
    }
    return share;
}

// The share of a row in the loss; 0 if it is masked.
fn share_of(row: u32, class_number: u32) -> f32 {
    if row >= params.rows || class_number >= params.classes {
        return 0.0;
    }
    var share = scratch[params.share_at];
    if HAS_WEIGHTS {
        let weight = weights[params.weights_offset + row];
        share = select(share * weight, 0.0, weight == 0.0);
    }
    return share;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at_once = 256u / LANES;
    let lane = local % LANES;
    var own = 0.0;
    // The bounds are the same for the whole workgroup, so the barriers within are met by all.
    for (var first = group.x * at_once; first < params.rows; first += groups.x * at_once) {
        let row = first + local / LANES;
        var class_number = params.classes;
        if row < params.rows {
            class_number = whole_below(expected[params.expected_offset + row], params.classes);
        }
        let share = share_of(row, class_number);
        let counts = share != 0.0;
        let start = params.logits_offset + row * params.classes;
        var largest = -0x1.fffffep+127f;
        if counts {
            for (var k = lane; k < params.classes; k += LANES) {
                largest = max(largest, logits[start + k]);
            }
        }
        largest = lanes_max(largest, local);
        var sums = vec2<f32>(0.0, 0.0);
        if counts {
            for (var k = lane; k < params.classes; k += LANES) {
                // Below -100 the exponential is 0 in f32.
                sums += vec2<f32>(exp(max(logits[start + k] - largest, -104.0)), wanted(k, class_number));
            }
        }
        sums = lanes_sum(sums, local);
        let logarithm = log(sums.x);
        if row < params.rows {
            for (var k = lane; k < params.classes; k += LANES) {
                var d_logit = 0.0;
                if counts {
                    let shifted = logits[start + k] - largest;
                    let q = wanted(k, class_number);
                    d_logit = share * (sums.y * exp(max(shifted, -104.0)) / sums.x - q);
                    // A class that is not wanted may be infinitely far.
                    if q != 0.0 {
                        own += share * q * (logarithm - shifted);
                    }
                }
                gradient[params.gradient_offset + row * params.classes + k] = d_logit;
            }
        }
    }
    let sum = workgroup_sum(own, local);
    if local == 0u {
        scratch[group.x] = sum;
    }
}
