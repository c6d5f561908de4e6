// A unit with one gate.
alias Gates = f32;
const SLOTS: u32 = 1u;
fn candidate_slot(gates: Gates) -> f32 { return gates; }
