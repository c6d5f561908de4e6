// Four neighbouring numbers at a time: offsets, strides and widths count such packs.
alias Value = vec4f;
const PACK: u32 = 4u;
