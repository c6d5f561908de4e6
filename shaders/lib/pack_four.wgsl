// The inputs of four neighbouring sequences.
alias PRODUCT_Pack = vec4f;
fn PRODUCT_pack(tile: Tile, lane: u32, k: u32) -> PRODUCT_Pack {
    return vec4f(
        PRODUCT_term(tile, running_lane(tile, lane), k),
        PRODUCT_term(tile, running_lane(tile, lane + 1u), k),
        PRODUCT_term(tile, running_lane(tile, lane + 2u), k),
        PRODUCT_term(tile, running_lane(tile, lane + 3u), k),
    );
}
fn PRODUCT_unpack(pack: PRODUCT_Pack, lane: u32) -> PRODUCT_Term { return pack[lane]; }
