// result[i] = f(a[i], b[i]) as KIND says; one invocation a value, one or four numbers (lib/value_*.wgsl).
//
// An operand that is in place is read from the result: a buffer cannot be bound to be read and to be written. Its own binding,
// and that of a second operand that there is not, are of any buffer and not read.
//
// A compiler that assumes that there are no NaN takes x - x and x * 0 for 0, and a choice by x <= 0 for a maximum: so they are
// put back (`or_nan`).

struct Params {
    a_offset: u32,
    b_offset: u32,
    result_offset: u32,
    len: u32,
    factor: f32,
    // Of the activation.
    alpha: f32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<Value>;
@group(1) @binding(1) var<storage, read> b: array<Value>;
@group(1) @binding(2) var<storage, read_write> result: array<Value>;

// In the order of the cases below.
override KIND: u32 = 0u;
// See lib/activation.wgsl.
override ACTIVATION: u32 = 0u;
override A_IN_PLACE: bool = false;
override B_IN_PLACE: bool = false;

fn activated(x: f32) -> f32 {
    return activate(ACTIVATION, vec2f(params.alpha, params.beta), x);
}

fn slope(x: f32) -> f32 {
    let parameters = vec2f(params.alpha, params.beta);
    return activate_derivative(ACTIVATION, parameters, x, activate(ACTIVATION, parameters, x));
}

fn first(index: u32) -> Value {
    if A_IN_PLACE {
        return result[params.result_offset + index];
    }
    return a[params.a_offset + index];
}

fn second(index: u32) -> Value {
    if B_IN_PLACE {
        return result[params.result_offset + index];
    }
    return b[params.b_offset + index];
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(group, groups, local, 256u);
    if index >= params.len {
        return;
    }
    let place = params.result_offset + index;
    var value = first(index);
    switch KIND {
        // copy
        case 0u: {}
        // accumulate
        case 1u: { value += result[place]; }
        // add
        case 2u: { value += second(index); }
        // subtract
        case 3u: { value = or_nan(value - second(index), value); }
        // multiply
        case 4u: { value *= second(index); }
        // accumulate product
        case 5u: { value = result[place] + value * second(index); }
        // scale
        case 6u: { value *= params.factor; }
        // accumulate scaled
        case 7u: { value = result[place] + params.factor * value; }
        // activate
        case 8u: { value = or_nan(activated_each(value), value); }
        // activate backward
        default: {
            let gradient = second(index);
            value = or_nan(or_nan(gradient * slope_each(value), gradient), value);
        }
    }
    result[place] = value;
}
