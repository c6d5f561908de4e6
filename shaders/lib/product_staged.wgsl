// A product over `PRODUCT_terms` terms, for every adapter: the workgroup stages the inputs of the tile's sequences in
// its memory, CHUNK terms at a time, and each thread multiplies them with its own unit's weights.
//
// Rust writes PRODUCT's name and repeats a line that names LANE or PACK for each of them, because indices have to be
// constants for arrays to become registers. A pack holds the inputs of EACH neighbouring sequences: one load.

struct PRODUCT_Sums {
    lane: array<PRODUCT_Sum, TILE>,
}

const PRODUCT_CHUNK: u32 = 512u / TILE;
var<workgroup> PRODUCT_staged: array<PRODUCT_Pack, PRODUCT_CHUNK * PACKS>;

fn PRODUCT_sums_of(tile: Tile, unit: u32, thread: u32) -> PRODUCT_Sums {
    var sums: PRODUCT_Sums;
    var packs: array<PRODUCT_Pack, PACKS>;
    let own = min(unit, PRODUCT_units() - 1u);
    let terms = bound(tile.direction, PRODUCT_terms(tile));
    for (var base = 0u; base < terms; base += PRODUCT_CHUNK) {
        let count = min(PRODUCT_CHUNK, terms - base);
        workgroupBarrier(); // the chunk before has been used
        for (var k = thread; k < count; k += WORKGROUP) {
            PRODUCT_staged[k * PACKS + PACKu] = PRODUCT_pack(tile, PACKu * EACH, base + k);
        }
        workgroupBarrier(); // the chunk is there
        for (var k = 0u; k < count; k++) {
            let weight = PRODUCT_weight(tile, own, base + k);
            packs[PACKu] = PRODUCT_staged[k * PACKS + PACKu];
            sums.lane[LANEu] += PRODUCT_times(weight, PRODUCT_unpack(packs[LANEu / EACH], LANEu % EACH));
        }
    }
    return sums;
}

fn PRODUCT_pick(sums: PRODUCT_Sums, lane: u32) -> PRODUCT_Sum {
    var picked = sums.lane[0];
    picked = select(picked, sums.lane[LANEu], lane == LANEu);
    return picked;
}
