// An input of one sequence.
alias PRODUCT_Pack = PRODUCT_Term;
fn PRODUCT_pack(tile: Tile, lane: u32, k: u32) -> PRODUCT_Pack { return PRODUCT_term(tile, running_lane(tile, lane), k); }
fn PRODUCT_unpack(pack: PRODUCT_Pack, lane: u32) -> PRODUCT_Term { return pack; }
