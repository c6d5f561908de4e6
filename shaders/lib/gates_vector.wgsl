// A unit with up to four gates, side by side.
alias Gates = vec4f;
const SLOTS: u32 = 4u;
fn candidate_slot(gates: Gates) -> f32 { return gates.z; }
