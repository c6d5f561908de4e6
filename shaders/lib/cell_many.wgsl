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

// Begins the work of the workgroups at `z`.
fn enter(z: u32) -> Place {
    let directions = cells[0].directions;
    enter_cell(z / directions);
    return Place(z / directions, z % directions);
}

// The parameters of a cell, for control flow around barriers: WGSL takes what is private for different in each thread.
fn cell_at(index: u32) -> Parameters { return cells[index]; }

// alpha and beta of an activation: where they are, since the copy's array would be memory of each thread's own.
fn activation_parameters(index: u32) -> vec2f { return cells[cell].activations[index].xy; }
