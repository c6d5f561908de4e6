// One number at a time.
alias Value = f32;
const PACK: u32 = 1u;
