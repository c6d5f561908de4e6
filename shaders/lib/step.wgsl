// The number that tells apart the dispatches of one kernel over many timesteps: all else in their parameters is shared.

struct RelativeStep {
    value: u32,
}

@group(0) @binding(1) var<uniform> relative_step: RelativeStep;
