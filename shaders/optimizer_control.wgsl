// Decides on an optimizer's step from the gradients' norm: one invocation, so that the step's need not.
//   taken if no gradient is infinite or NaN and the optimizer has not halted; only then t = t + 1
//   factor = scale * min(1, largest / (norm + 1e-6)), as PyTorch clips; norm that of the scaled gradients
//   corrections 1 - b1^t and sqrt(1 - b2^t), from logarithms: 1 - exp(t ln b)

struct Params {
    norm_offset: u32,
    settings_offset: u32,
    counters_offset: u32,
    control_offset: u32,
    // 2^-80: what the second sum multiplied values by
    scale: f32,
    // 2^20: what the first word of a counter counts up to
    carry: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> norm: array<f32>; // [3]
@group(1) @binding(1) var<storage, read> settings: array<f32>;
@group(1) @binding(2) var<storage, read_write> counters: array<f32>; // [5]
@group(1) @binding(3) var<storage, read_write> control: array<f32>; // [7]

const GRADIENT_SCALE: u32 = 0u;
const LARGEST_NORM: u32 = 1u;
const HALTS: u32 = 3u;
const MOMENTUM_LOGARITHM: u32 = 7u;
const DECAY_LOGARITHM: u32 = 10u;

const STEPS: u32 = 0u;
const LEFT_OUT: u32 = 2u;
const HALTED: u32 = 4u;

const LARGEST: f32 = 3.40282e38;

fn setting(index: u32) -> f32 {
    return settings[params.settings_offset + index];
}

// Counts one; the two words of a counter hold what one could not.
fn count(counter: u32) {
    let at = params.counters_offset + counter;
    counters[at] += 1.0;
    if counters[at] >= params.carry {
        counters[at] = 0.0;
        counters[at + 1u] += 1.0;
    }
}

// 1 - exp(x) for x <= 0. Near 0 by the series of exp, which does not cancel there.
fn one_minus_exp(x: f32) -> f32 {
    if x < -1.5 {
        return 1.0 - exp(max(x, -80.0));
    }
    var sum = 1.0;
    for (var n = 16u; n >= 2u; n--) {
        sum = 1.0 + sum * x / f32(n);
    }
    return -x * sum;
}

@compute @workgroup_size(1)
fn main() {
    let not_finite = norm[params.norm_offset + 2u];
    let halted = counters[params.counters_offset + HALTED] > 0.0;
    let taken = not_finite == 0.0 && !halted;
    if taken {
        count(STEPS);
    } else if !halted {
        count(LEFT_OUT);
        if setting(HALTS) > 0.0 {
            counters[params.counters_offset + HALTED] = 1.0;
        }
    }
    let steps = counters[params.counters_offset + STEPS + 1u] * params.carry + counters[params.counters_offset + STEPS];

    // The norm in units of which its square fits: 1, or 2^80.
    var unit = 1.0;
    var length = sqrt(norm[params.norm_offset]);
    if !is_finite(norm[params.norm_offset]) {
        unit = params.scale;
        length = sqrt(norm[params.norm_offset + 1u]);
    }
    let scale = setting(GRADIENT_SCALE);
    let largest = setting(LARGEST_NORM);
    length *= scale;
    let bounded_length = length + 1e-6 * unit;
    var factors = vec2f(1.0, scale);
    if largest > 0.0 && largest * unit < bounded_length {
        factors = vec2f(unit, scale * (largest / bounded_length));
    }

    let at = params.control_offset;
    control[at] = select(0.0, 1.0, taken);
    control[at + 1u] = factors.x;
    control[at + 2u] = factors.y;
    control[at + 3u] = one_minus_exp(steps * setting(MOMENTUM_LOGARITHM));
    control[at + 4u] = sqrt(one_minus_exp(steps * setting(DECAY_LOGARITHM)));
    control[at + 5u] = select(LARGEST, length / unit, length < LARGEST * unit);
    control[at + 6u] = not_finite;
}
