// A product over `PRODUCT_terms` terms, for adapters with subgroups: the inputs of the tile's sequences reach all lanes
// by broadcast, without workgroup memory and barriers.
//
// Each of the first eight lanes loads terms of one sequence; with fewer than eight sequences in a tile, lanes share them and
// load further terms. Then each thread multiplies its own unit's weights with what every lane has loaded. All
// lanes take part in all broadcasts: a thread without a unit repeats the last one, and its sums are not used.
//
// Rust writes PRODUCT's name and the constants, and repeats a line that names LANE, TERM, LOAD, INPUT or SLOT for each of
// them, because indices have to be constants for arrays to become registers.

struct PRODUCT_Sums {
    lane: array<PRODUCT_Sum, TILE>,
}

// What this lane loads in its slot `slot` of the TERMS terms from `k` on: term `each` of the EACH that it loads at a time.
fn PRODUCT_load(tile: Tile, slot: u32, each: u32, k: u32) -> PRODUCT_Term {
    let index = 8u * slot + subgroup_lane;
    return PRODUCT_term(tile, running_lane(tile, index % TILE), k + EACH * (index / TILE) + each);
}

fn PRODUCT_sums_of(tile: Tile, unit: u32, thread: u32) -> PRODUCT_Sums {
    var sums: PRODUCT_Sums;
    var loaded: array<PRODUCT_Term, LOADS>;
    var inputs: array<PRODUCT_Term, INPUTS>;
    var weight: PRODUCT_Weight;
    let own = min(unit, PRODUCT_units() - 1u);
    let terms = bound(tile.direction, PRODUCT_terms(tile));
    let whole = terms - terms % TERMS;
    for (var k = 0u; k < whole; k += TERMS) {
        loaded[LOADu] = PRODUCT_load(tile, LOADu / EACH, LOADu % EACH, k);
        inputs[INPUTu] = subgroupBroadcast(loaded[INPUTu / (8u * EACH) * EACH + INPUTu % EACH], INPUTu / EACH % 8u);
        // repeat TERM
        weight = PRODUCT_weight(tile, own, k + TERMu);
        sums.lane[LANEu] += PRODUCT_times(weight, inputs[(LANEu + TILE * (TERMu / EACH)) * EACH + TERMu % EACH]);
        // end TERM
    }
    for (var k = whole; k < terms; k++) {
        weight = PRODUCT_weight(tile, own, k);
        loaded[SLOTu] = PRODUCT_term(tile, running_lane(tile, (8u * SLOTu + subgroup_lane) % TILE), k);
        sums.lane[LANEu] += PRODUCT_times(weight, subgroupBroadcast(loaded[LANEu / 8u], LANEu % 8u));
    }
    return sums;
}

fn PRODUCT_pick(sums: PRODUCT_Sums, lane: u32) -> PRODUCT_Sum {
    var picked = sums.lane[0];
    picked = select(picked, sums.lane[LANEu], lane == LANEu);
    return picked;
}
