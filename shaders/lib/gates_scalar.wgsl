// A unit with one gate.
alias Gates = f32;
const SLOTS: u32 = 1u;
fn candidate_slot(gates: Gates) -> f32 { return gates; }
fn contract(a: Gates, b: Gates) -> f32 { return a * b; }
// The weights of four neighbouring units for the same gate, and their products with that.
alias FourGates = vec4f;
fn four_gates(a: Gates, b: Gates, c: Gates, d: Gates) -> FourGates { return vec4f(a, b, c, d); }
fn contract_four(a: FourGates, b: Gates) -> vec4f { return a * b; }
