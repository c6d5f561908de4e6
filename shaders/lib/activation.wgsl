// Activations and their derivatives; the codes are those of `Activation::code` in src/config.rs.
//
// WGSL leaves tanh undefined for large arguments and some drivers return NaN there, so both saturating functions are
// written with exp(-|x|), which cannot overflow. Comparisons are arranged so that NaN comes out as NaN.

fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

fn hyperbolic_tangent(x: f32) -> f32 {
    let magnitude = abs(x);
    // Near zero 1 - e would cancel: an odd polynomial (Cephes' minimax fit, error under 1 ulp).
    let z = x * x;
    let series = x + x * z * ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z
        + 1.33314422036e-1) * z - 3.33332819422e-1);
    let e = exp(-2.0 * magnitude);
    let saturating = 1.0 - 2.0 * e / (1.0 + e);
    return select(select(saturating, -saturating, x < 0.0), series, magnitude < 0.625);
}

// WGSL promises no quotient whose divisor, here up to the square of a number, is beyond 2^126. A softsign is saturated long
// before.
const FAR: f32 = 0x1p63;

fn activate(code: u32, parameters: vec2f, x: f32) -> f32 {
    switch code {
        case 0u: { return sigmoid(x); }
        case 1u: { return hyperbolic_tangent(x); }
        case 2u: { return select(x, 0.0, x <= 0.0); }
        case 3u: { return x; }
        case 4u: { return parameters.x * x + parameters.y; }
        case 5u: { return select(x, parameters.x * x, x < 0.0); }
        case 6u: { return select(x, 0.0, x < parameters.x); }
        case 7u: { return parameters.x * hyperbolic_tangent(parameters.y * x); }
        case 8u: {
            let line = parameters.x * x + parameters.y;
            return select(select(line, 1.0, line > 1.0), 0.0, line < 0.0);
        }
        case 9u: {
            // exp(x) - 1 without the cancellation near zero.
            let t = hyperbolic_tangent(0.5 * min(x, 0.0));
            return select(x, parameters.x * (2.0 * t / (1.0 - t)), x < 0.0);
        }
        case 10u: {
            let near = bounded(x, FAR);
            return near / (1.0 + abs(near));
        }
        default: { return select(x, 0.0, x < 0.0) + log(1.0 + exp(-abs(x))); }
    }
}

// The derivative at x, where y = activate(x).
fn activate_derivative(code: u32, parameters: vec2f, x: f32, y: f32) -> f32 {
    switch code {
        case 0u: { return y * (1.0 - y); }
        case 1u: { return 1.0 - y * y; }
        case 2u: { return select(0.0, 1.0, x > 0.0); }
        case 3u: { return 1.0; }
        case 4u: { return parameters.x; }
        case 5u: { return select(1.0, parameters.x, x < 0.0); }
        case 6u: { return select(1.0, 0.0, x < parameters.x); }
        case 7u: {
            let inner = hyperbolic_tangent(parameters.y * x);
            return parameters.x * parameters.y * (1.0 - inner * inner);
        }
        case 8u: {
            let line = parameters.x * x + parameters.y;
            return select(0.0, parameters.x, line >= 0.0 && line <= 1.0);
        }
        case 9u: { return select(1.0, y + parameters.x, x < 0.0); }
        case 10u: {
            let d = 1.0 + abs(bounded(x, FAR));
            return 1.0 / (d * d);
        }
        default: { return sigmoid(x); }
    }
}

// x bounded to [-bound, bound]; NaN stays NaN.
fn bounded(x: f32, bound: f32) -> f32 {
    return select(select(x, -bound, x < -bound), bound, x > bound);
}

// Whether the bound's derivative passes: on the bound itself it does.
fn passes(x: f32, bound: f32) -> f32 {
    return select(1.0, 0.0, abs(x) > bound);
}
