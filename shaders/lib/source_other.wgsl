// The operand of dropout_rows.wgsl in a buffer of its own.

@group(1) @binding(2) var<storage, read> source: array<Source>;

fn source_value(index: u32) -> f32 {
    return f32(source[index]);
}
