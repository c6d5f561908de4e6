// The recurrent dropout's mask in the carry, where states are kept in half precision: its factors are exact.
fn input_mask(site: Site) -> f32 {
    if (MASKED) { return carry[p.mask + (site.direction * p.batch + site.sequence) * p.state + site.unit]; }
    return 1.0;
}
