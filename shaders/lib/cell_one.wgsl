// A dispatch of one cell: a layer over some of its steps.

@group(0) @binding(0) var<uniform> p: Parameters;

// Begins the work of the workgroups at `z`.
fn enter(z: u32) -> Place { return Place(0u, z); }

// The parameters of a cell, for control flow around barriers.
fn cell_at(cell: u32) -> Parameters { return p; }

// alpha and beta of an activation.
fn activation_parameters(index: u32) -> vec2f { return p.activations[index].xy; }
