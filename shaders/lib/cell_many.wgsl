// A dispatch of several cells, each a layer over some of its steps: those that do not need each other's results share the
// workgroups' dimension z, others follow one another in a workgroup.

@group(0) @binding(0) var<uniform> cells: array<Parameters, CELLS>;

// The cell at work, and its parameters: from the uniform once, so that nothing looks for the cell at each use.
var<private> cell: u32;
var<private> p: Parameters;

fn enter_cell(index: u32) {
    cell = index;
    p = cells[index];
}

// Enters the cell of the workgroups at `z`, and gives their direction.
fn enter(z: u32) -> u32 {
    let directions = cells[0].directions;
    enter_cell(z / directions);
    return z % directions;
}

// alpha and beta of an activation: where they are, since the copy's array would be memory of each thread's own.
fn activation_parameters(index: u32) -> vec2f { return cells[cell].activations[index].xy; }
