// One step of an optimizer, PyTorch's formulas; one invocation a parameter. g is the scaled and clipped gradient, r the
// learning rate and d the weight decay of the parameter's group, which is found by bisection of the groups' segments.
//   SGD      g += d p; b = momentum b + g; p -= r b (Nesterov: p -= r (g + momentum b); without momentum: p -= r g)
//   Adam     g += d p (AdamW: p *= 1 - r d); m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
//            p -= r / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)
//   RMSprop  g += d p; v = alpha v + (1 - alpha) g^2; h = g / (sqrt(v) + epsilon); b = momentum b + h; p -= r b
//            (centered: v - m^2 in the root, m = alpha m + (1 - alpha) g; without momentum: p -= r h)

struct Params {
    parameters_offset: u32,
    gradients_offset: u32,
    state_offset: u32,
    control_offset: u32,
    settings_offset: u32,
    segments_offset: u32,
    segments: u32,
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> parameters: array<f32>;
@group(1) @binding(1) var<storage, read> gradients: array<f32>;
@group(1) @binding(2) var<storage, read_write> state: array<f32>; // [slots, len]
@group(1) @binding(3) var<storage, read> control: array<f32>; // [7]
@group(1) @binding(4) var<storage, read> settings: array<f32>; // [11], then [groups, 2]
@group(1) @binding(5) var<storage, read> table: array<u32>; // [segments, 2]: end, group

// 0: SGD, 1: Adam, 2: RMSprop
override RULE: u32 = 0u;
override MOMENTUM: bool = false;
override NESTEROV: bool = false;
override DECOUPLED: bool = false;
override CENTERED: bool = false;

const LARGEST_VALUE: u32 = 2u;
const EPSILON: u32 = 4u;
const MOMENTUM_FACTOR: u32 = 5u;
const MOMENTUM_REST: u32 = 6u;
const DECAY: u32 = 8u;
const DECAY_REST: u32 = 9u;
const GROUPS: u32 = 11u;

struct Group {
    rate: f32,
    decay: f32,
}

fn setting(index: u32) -> f32 {
    return settings[params.settings_offset + index];
}

fn control_at(index: u32) -> f32 {
    return control[params.control_offset + index];
}

fn group_of(index: u32) -> Group {
    var low = 0u;
    var high = params.segments - 1u;
    while low < high {
        let middle = (low + high) / 2u;
        if index < table[params.segments_offset + 2u * middle] {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    let group = GROUPS + 2u * table[params.segments_offset + 2u * low + 1u];
    return Group(setting(group), setting(group + 1u));
}

fn clipped_gradient(index: u32) -> f32 {
    let g = gradients[params.gradients_offset + index] * control_at(1u) * control_at(2u);
    let largest = setting(LARGEST_VALUE);
    return select(g, clamp(g, -largest, largest), largest > 0.0);
}

fn slot_place(slot: u32, index: u32) -> u32 {
    return params.state_offset + slot * params.len + index;
}

fn with_momentum(slot: u32, index: u32, g: f32) -> f32 {
    let at = slot_place(slot, index);
    let b = setting(MOMENTUM_FACTOR) * state[at] + g;
    state[at] = b;
    return b;
}

fn mean_square(slot: u32, index: u32, g: f32) -> f32 {
    let at = slot_place(slot, index);
    let v = setting(DECAY) * state[at] + setting(DECAY_REST) * g * g;
    state[at] = v;
    return v;
}

fn mean(slot: u32, index: u32, g: f32, rest: f32) -> f32 {
    let at = slot_place(slot, index);
    let m = state[at] + rest * (g - state[at]);
    state[at] = m;
    return m;
}

fn sgd_direction(index: u32, g: f32) -> f32 {
    if !MOMENTUM {
        return g;
    }
    let b = with_momentum(0u, index, g);
    if NESTEROV {
        return g + setting(MOMENTUM_FACTOR) * b;
    }
    return b;
}

fn adam_direction(index: u32, g: f32) -> f32 {
    let m = mean(0u, index, g, setting(MOMENTUM_REST));
    let v = mean_square(1u, index, g);
    return m / control_at(3u) / (sqrt(v) / control_at(4u) + setting(EPSILON));
}

fn rms_prop_direction(index: u32, g: f32) -> f32 {
    var spread = mean_square(0u, index, g);
    if CENTERED {
        let m = mean(1u, index, g, setting(DECAY_REST));
        // A variance; rounding may take it below zero.
        spread = max(spread - m * m, 0.0);
    }
    let h = g / (sqrt(spread) + setting(EPSILON));
    if MOMENTUM {
        return with_momentum(select(1u, 2u, CENTERED), index, h);
    }
    return h;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(group, groups, local, 256u);
    if index >= params.len || control_at(0u) == 0.0 {
        return;
    }
    let own = group_of(index);
    let at = params.parameters_offset + index;
    var p = parameters[at];
    var g = clipped_gradient(index);
    if DECOUPLED {
        p *= 1.0 - own.rate * own.decay;
    } else {
        g += own.decay * p;
    }
    var direction = 0.0;
    switch RULE {
        case 0u: { direction = sgd_direction(index, g); }
        case 1u: { direction = adam_direction(index, g); }
        default: { direction = rms_prop_direction(index, g); }
    }
    parameters[at] = p - own.rate * direction;
}
