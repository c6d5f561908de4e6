// A matrix of weights: packed ones of all directions seen as gates, or the right factor of a product.
@group(1) @binding(WEIGHTS_BINDING) var<storage, read> weights: array<PackedWeights>;
fn weight_at(at: u32) -> Weights { return Weights(weights[at]); }
