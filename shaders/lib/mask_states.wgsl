// The recurrent dropout's mask beside the kept states.
fn input_mask(site: Site) -> f32 {
    if (MASKED) { return f32(states[p.mask + (site.direction * p.batch + site.sequence) * p.state + site.unit]); }
    return 1.0;
}
