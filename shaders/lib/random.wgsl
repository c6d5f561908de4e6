// The twin of src/random.rs: Philox4x32-10 (Salmon et al. 2011), bit for bit.

// The high and the low word of a * b; WGSL has no 64-bit product.
fn wide_product(a: u32, b: u32) -> vec2u {
    let low_low = (a & 0xffffu) * (b & 0xffffu);
    let low_high = (a & 0xffffu) * (b >> 16u);
    let high_low = (a >> 16u) * (b & 0xffffu);
    let middle = (low_low >> 16u) + (low_high & 0xffffu) + (high_low & 0xffffu);
    let high = (a >> 16u) * (b >> 16u) + (low_high >> 16u) + (high_low >> 16u) + (middle >> 16u);
    return vec2u(high, a * b);
}

fn philox(counter_in: vec4u, key_in: vec2u) -> vec4u {
    var counter = counter_in;
    var key = key_in;
    for (var round = 0u; round < 10u; round++) {
        let first = wide_product(counter.x, 0xD2511F53u);
        let second = wide_product(counter.z, 0xCD9E8D57u);
        counter = vec4u(second.x ^ counter.y ^ key.x, second.y, first.x ^ counter.w ^ key.y, first.y);
        key += vec2u(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

// A uniform number in [0, 1) with 24 bits; see src/random.rs for what each argument means.
fn random_uniform(seed: vec2u, site: u32, sequence: u32, step: u32, feature: u32) -> f32 {
    let words = philox(vec4u(feature / 4u, step, sequence, site), seed);
    return f32(words[feature % 4u] >> 8u) * (1.0 / 16777216.0);
}
