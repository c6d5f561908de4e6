// A dispatch of one cell: a layer over some of its steps.

@group(0) @binding(0) var<uniform> p: Parameters;

// The direction of the workgroups at `z`.
fn enter(z: u32) -> u32 { return z; }

// alpha and beta of an activation.
fn activation_parameters(index: u32) -> vec2f { return p.activations[index].xy; }
