// The operand of dropout_rows.wgsl in a buffer of its own.

@group(1) @binding(2) var<storage, read> source: array<f32>;

fn source_value(index: u32) -> f32 {
    return source[index];
}
