// Rows at the edge of layers that follow one another, for a batch of single steps: nothing is kept in between.
// Sequences of equal lengths are in the caller's order.

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

fn projection_at(site: Site) -> Gates { return weight_at(p.input_bias / SLOTS + site.unit); }

fn keep_arguments(site: Site, arguments: Gates) {}

fn old_h(site: Site) -> f32 { return first_h[p.first_h + site.sequence * p.state + site.unit]; }

fn old_c(site: Site) -> f32 { return first_c[p.first_c + site.sequence * p.hidden + site.unit]; }

// Whether the layer at work is the last one, and whether this workgroup is the one to write its states.
var<private> is_last: bool;
var<private> is_kept: bool;

fn write_h(site: Site, h: f32) {
    if (is_last) {
        y[p.y + site.row * p.state + site.unit] = to_Output(h);
    } else {
        sh_h[kept_place(cell, site.sequence % TILE) + site.unit] = h;
    }
    if (is_kept) { last_h[p.last_h + site.sequence * p.state + site.unit] = h; }
}

fn write_c(site: Site, c: f32) {
    if (is_kept) { last_c[p.last_c + site.sequence * p.hidden + site.unit] = c; }
}

fn write_second(site: Site, value: f32) {}
