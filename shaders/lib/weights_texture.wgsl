// A matrix of weights as a texture: rows of 4096 texels (TEXTURE_WIDTH in src/gpu/shader.rs).
@group(1) @binding(WEIGHTS_BINDING) var weights: WeightsTexture;
fn weight_at(at: u32) -> Weights { return textureLoad(weights, vec2u(at % 4096u, at / 4096u)); }
