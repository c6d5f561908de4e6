// The operand of dropout_rows.wgsl in the buffer of the result: no buffer is bound twice.

fn source_value(index: u32) -> f32 {
    return f32(result[index]);
}
