// Counter-based random numbers, Philox4x32-10 (Salmon et al. 2011); the twin of src/random.rs, bit for bit.

// High word of the product of two words: WGSL has no 64-bit integers, so by halves.
fn multiply_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    let middle_a = a_high * b_low + (low >> 16u);
    let middle_b = a_low * b_high + (middle_a & 0xffffu);
    return a_high * b_high + (middle_a >> 16u) + (middle_b >> 16u);
}

// One block: four words from a counter and a key.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var words = counter;
    var round_key = key;
    for (var round = 0u; round < 10u; round++) {
        words = vec4<u32>(
            multiply_high(words.z, 0xcd9e8d57u) ^ words.y ^ round_key.x,
            words.z * 0xcd9e8d57u,
            multiply_high(words.x, 0xd2511f53u) ^ words.w ^ round_key.y,
            words.x * 0xd2511f53u,
        );
        round_key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return words;
}

// A number in [0, 1) with 24 bits. `site` is RandomSite::word; `time` is 0 where a mask is the same for all steps.
fn random_uniform(seed: vec2<u32>, site: u32, sequence: u32, time: u32, feature: u32) -> f32 {
    let words = philox(vec4<u32>(feature / 4u, time, sequence, site), seed);
    let lane = feature % 4u;
    let low = select(words.x, words.y, lane == 1u);
    let high = select(words.z, words.w, lane == 3u);
    return f32(select(low, high, lane >= 2u) >> 8u) * 0x1p-24f;
}
