// A unit with one gate.
alias Gates = f32;
const SLOTS: u32 = 1u;
fn candidate_slot(gates: Gates) -> f32 { return gates; }
fn contract(a: Gates, b: Gates) -> f32 { return a * b; }
