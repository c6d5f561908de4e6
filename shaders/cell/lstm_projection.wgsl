// The LSTM's projection (Sak et al. 2014): h' = m W_p + b_p, bounded. A site's unit is one of the projected state here.

fn projected(site: Site, sum: f32) -> f32 {
    if (p.projection_bias == bound(site.direction, p.vectors + p.vectors_len)) { return sum; }
    return sum + vector_at(site.direction, p.projection_bias, site.unit);
}

fn second_unit(site: Site, sum: f32) {
    var h = projected(site, sum);
    if (CLIP_PROJECTION) { h = bounded(h, p.clip_projection); }
    store_h(site, h);
}

// Leaves the gradient of the unbounded projection in `d_output`, for the second phase and for the projection's weights. The
// unbounded value is not stored: the clip passes where the new state is not beyond the bound, so it is found again from m.
fn project_gradient(site: Site, d_h: f32) {
    var d_new = take_h_gradient(site, d_h);
    if (CLIP_PROJECTION) {
        var sum = 0.0;
        for (var k = 0u; k < bound(site.direction, p.second_inputs); k++) {
            sum += vector_at(site.direction, p.second, site.unit * p.second_inputs + k) * second_at(site, k);
        }
        d_new *= passes(projected(site, sum), p.clip_projection);
    }
    d_output[d_output_place(site)] = d_new;
}
