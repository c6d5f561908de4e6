// A unit with up to four gates, side by side.
alias Gates = vec4f;
const SLOTS: u32 = 4u;
fn candidate_slot(gates: Gates) -> f32 { return gates.z; }
fn contract(a: Gates, b: Gates) -> f32 { return dot(a, b); }
// The weights of four neighbouring units for the same gates, and their products with those.
alias FourGates = mat4x4f;
fn four_gates(a: Gates, b: Gates, c: Gates, d: Gates) -> FourGates { return mat4x4f(a, b, c, d); }
fn contract_four(a: FourGates, b: Gates) -> vec4f { return b * a; }
