// GRU with `WholeThenSum` normalisation: r, z and q are normalised together on the recurrent side.
const NORM_SLOTS: vec4f = vec4f(1.0, 1.0, 0.0, 1.0);

fn norm_forward(tile: Tile, lane: u32, thread: u32) {
    let moments = recurrent_moments(tile, lane, thread);
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        store_h(site, gru_forward(site.direction, whole_arguments(site, moments), old_h(site)));
    }
}

fn norm_backward(tile: Tile, lane: u32, thread: u32) {
    let moments = recurrent_moments(tile, lane, thread);
    var partial = vec4f();
    for (var unit = thread; unit < p.hidden; unit += WORKGROUP) {
        let site = site_at(tile, lane, unit);
        let d = gru_backward(site.direction, whole_arguments(site, moments), old_h(site), carry[scratch_place(site)]);
        carry[d_h_place(site)] += d.old;
        partial += take_argument_gradient(site, moments, d.argument);
    }
    put_sum_gradients(tile, lane, thread, moments, partial);
}
