// For each element a loss l(x, y) and its derivative: gradient = share * dl/dx, and scratch[group] = sum of share * l over the
// group's elements of 0 .. rows * width, where share = weight of the row / sum of all elements' weights: the first stage, see
// sum_partials.wgsl. The invocations of all workgroups walk the elements side by side.

struct Params {
    prediction_offset: u32,
    expected_offset: u32,
    weights_offset: u32,
    gradient_offset: u32,
    width: u32,
    elements: u32,
    // 1 / elements
    share: f32,
    // Where loss_share.wgsl left its result, with weights
    share_at: u32,
    // The Huber loss's delta, or the weight of the positive class
    parameter: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> prediction: array<f32>;
@group(1) @binding(1) var<storage, read> expected: array<f32>;
@group(1) @binding(2) var<storage, read> weights: array<f32>;
@group(1) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(1) @binding(4) var<storage, read_write> scratch: array<f32>;

// 0: squared, 1: absolute, 2: Huber, 3: binary cross-entropy with logits
override KIND: u32 = 0u;
override HAS_WEIGHTS: bool = false;

// ln(1 + e) for e in [0, 1]; the logarithm alone would lose all of a small e.
fn log_one_plus(e: f32) -> f32 {
    let series = e * (1.0 - e * (0.5 - e * (0.33333333 - e * 0.25)));
    return select(log(1.0 + e), series, e < 0.015625);
}

// The loss and its derivative. Terms are products of a share of the target and something of one sign, so nothing cancels.
fn loss_of(x: f32, y: f32) -> vec2<f32> {
    let difference = x - y;
    let distance = abs(difference);
    switch KIND {
        case 0u: {
            return vec2<f32>(difference * difference, 2.0 * difference);
        }
        case 1u: {
            return vec2<f32>(distance, sign(difference));
        }
        case 2u: {
            let near = 0.5 * difference * difference;
            let far = params.parameter * (distance - 0.5 * params.parameter);
            return vec2<f32>(
                select(far, near, distance < params.parameter),
                clamp(difference, -params.parameter, params.parameter),
            );
        }
        default: {
            // Beyond 100 the exponential is 0 in f32. A minimum may take a NaN for larger; it has to be seen.
            let e = select(exp(-min(abs(x), 100.0)), x, is_nan(x));
            let rest = log_one_plus(e);
            let sigmoids = vec2<f32>(e, 1.0) / (1.0 + e);
            let high = select(sigmoids.x, sigmoids.y, x >= 0.0);
            let low = select(sigmoids.y, sigmoids.x, x >= 0.0);
            let positive = params.parameter * y;
            let negative = 1.0 - y;
            return vec2<f32>(
                negative * (max(x, 0.0) + rest) + positive * (max(-x, 0.0) + rest),
                negative * high - positive * low,
            );
        }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var share = params.share;
    if HAS_WEIGHTS {
        share = scratch[params.share_at];
    }
    var own = 0.0;
    for (var index = group.x * 256u + local; index < params.elements; index += groups.x * 256u) {
        var weight = 1.0;
        if HAS_WEIGHTS {
            weight = weights[params.weights_offset + index / params.width];
        }
        var d_prediction = 0.0;
        // What a masked row holds may be anything, and would not vanish by a product with 0.
        if weight != 0.0 {
            let both = loss_of(prediction[params.prediction_offset + index], expected[params.expected_offset + index]);
            own += share * weight * both.x;
            d_prediction = share * weight * both.y;
        }
        gradient[params.gradient_offset + index] = d_prediction;
    }
    let sum = workgroup_sum(own, local);
    if local == 0u {
        scratch[group.x] = sum;
    }
}
