// Rows at a layer's edge, for a batch of single steps: nothing is kept in between.

// Neither are gates.
alias KeptGates = Gates;
alias KeptSums = Gates;
alias KeptStates = f32;
fn to_KeptGates(x: Gates) -> KeptGates { return x; }
fn to_KeptSums(x: Gates) -> KeptSums { return x; }

@group(1) @binding(3) var<storage, read> x: array<Input>;
@group(1) @binding(4) var<storage, read> first_h: array<f32>;
@group(1) @binding(5) var<storage, read_write> y: array<Output>;
@group(1) @binding(6) var<storage, read_write> last_h: array<f32>;
@group(1) @binding(7) var<storage, read> first_c: array<f32>;
@group(1) @binding(8) var<storage, read_write> last_c: array<f32>;

// States at the edge are in the caller's order.
fn edge_row(sequence: u32) -> u32 { return table[p.order + sequence]; }

fn projection_at(site: Site) -> Gates { return weight_at(p.input_bias / SLOTS + site.unit); }

fn keep_arguments(site: Site, arguments: Gates) {}

fn old_h(site: Site) -> f32 { return first_h[p.first_h + edge_row(site.sequence) * p.state + site.unit]; }

fn old_c(site: Site) -> f32 { return first_c[p.first_c + edge_row(site.sequence) * p.hidden + site.unit]; }

fn write_h(site: Site, h: f32) {
    y[p.y + site.row * p.state + site.unit] = to_Output(h);
    last_h[p.last_h + edge_row(site.sequence) * p.state + site.unit] = h;
}

fn write_c(site: Site, c: f32) { last_c[p.last_c + edge_row(site.sequence) * p.hidden + site.unit] = c; }

fn write_second(site: Site, value: f32) {}
