//! The uniform of the recurrent kernels.

use crate::ops::{Recurrence, Region};

/// `Parameters` in shaders/lib/recurrent.wgsl: of a cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(in crate::gpu::kernel) struct Params {
    hidden: u32,
    state: u32,
    batch: u32,
    tokens: u32,
    pub(in crate::gpu::kernel) first_step: u32,
    pub(in crate::gpu::kernel) last_step: u32,
    first_row: u32,
    gate_rows: u32,
    offsets: u32,
    order: u32,
    weights_stride: u32,
    pub(in crate::gpu::kernel) recurrent: u32,
    pub(in crate::gpu::kernel) second: u32,
    second_inputs: u32,
    second_outputs: u32,
    peephole: u32,
    norm_recurrent: u32,
    norm_cell_weight: u32,
    norm_cell_bias: u32,
    norm_gates: u32,
    gate_bias: u32,
    projection_bias: u32,
    vectors: u32,
    vectors_len: u32,
    h: u32,
    recurrent_input: u32,
    pub(in crate::gpu::kernel) mask: u32,
    c: u32,
    second_rows: u32,
    running_h: u32,
    running_input: u32,
    running_c: u32,
    gates: u32,
    recurrent_sums: u32,
    pub(in crate::gpu::kernel) d_h: u32,
    pub(in crate::gpu::kernel) d_c: u32,
    pub(in crate::gpu::kernel) scratch: u32,
    pub(in crate::gpu::kernel) scratch_second: u32,
    pub(in crate::gpu::kernel) vector_sums: u32,
    pub(in crate::gpu::kernel) d_output: u32,
    pub(in crate::gpu::kernel) inputs: u32,
    input: u32,
    input_bias: u32,
    pub(in crate::gpu::kernel) x: u32,
    pub(in crate::gpu::kernel) y: u32,
    pub(in crate::gpu::kernel) first_h: u32,
    pub(in crate::gpu::kernel) first_c: u32,
    pub(in crate::gpu::kernel) last_h: u32,
    pub(in crate::gpu::kernel) last_c: u32,
    layer: u32,
    epsilon: f32,
    clip_gates: f32,
    clip_cell: f32,
    clip_hidden: f32,
    clip_projection: f32,
    zoneout_hidden: f32,
    zoneout_cell: f32,
    /// Stays 0: `bound` in the shader says why.
    zero: u32,
    directions: u32,
    padding: u32,
    activations: [[f32; 4]; 6],
}

impl Params {
    /// All but the places of a kernel's own buffers.
    pub(in crate::gpu::kernel) fn new(op: &Recurrence) -> Self {
        let layout = &op.layout;
        let word = |value: usize| value as u32;
        let weights = |part: usize| word(op.weights.offset + part);
        let place = |region: Option<Region>| region.map_or(0, |region| word(region.offset));
        let clip = op.spec.clip;
        let mut activations = [[0.0; 4]; 6];
        for (direction, of_direction) in op.spec.activations.into_iter().enumerate() {
            for (role, activation) in [
                of_direction.gate,
                of_direction.candidate,
                of_direction.hidden,
            ]
            .into_iter()
            .enumerate()
            {
                let (_, alpha, beta) = activation.code();
                activations[3 * direction + role] = [alpha, beta, 0.0, 0.0];
            }
        }
        Self {
            hidden: word(op.hidden),
            state: word(op.state),
            batch: word(op.batch),
            tokens: word(op.tokens),
            first_step: word(op.steps.start),
            last_step: word(op.steps.end),
            first_row: word(op.first_row),
            gate_rows: word(op.gate_rows),
            offsets: word(op.offsets_table.0),
            order: word(op.order_table.0),
            weights_stride: word(layout.len()),
            recurrent: weights(layout.recurrent),
            second: weights(layout.second),
            second_inputs: word(layout.second_inputs),
            second_outputs: word(layout.second_outputs),
            peephole: weights(layout.peephole),
            norm_recurrent: weights(layout.norm_recurrent),
            norm_cell_weight: weights(layout.norm_cell_weight),
            norm_cell_bias: weights(layout.norm_cell_bias),
            norm_gates: weights(layout.norm_gates),
            gate_bias: weights(layout.gate_bias),
            projection_bias: weights(layout.projection_bias),
            vectors: weights(layout.vectors),
            vectors_len: word(layout.vectors_len()),
            h: word(op.states.h.offset),
            recurrent_input: word(op.states.recurrent_input.offset),
            mask: place(op.mask()),
            c: place(op.states.c),
            second_rows: place(op.states.second),
            running_h: place(op.running.map(|running| running.h)),
            running_input: place(op.running.map(|running| running.recurrent_input)),
            running_c: place(op.running.and_then(|running| running.c)),
            gates: word(op.gates.offset / layout.slots),
            recurrent_sums: place(op.recurrent_sums) / word(layout.slots),
            d_h: 0,
            d_c: 0,
            scratch: 0,
            scratch_second: 0,
            vector_sums: 0,
            d_output: 0,
            inputs: 0,
            input: weights(layout.input),
            input_bias: weights(layout.input_bias),
            x: 0,
            y: 0,
            first_h: 0,
            first_c: 0,
            last_h: 0,
            last_c: 0,
            layer: word(op.layer),
            epsilon: op.spec.layer_norm.map_or(0.0, |norm| norm.epsilon as f32),
            clip_gates: clip.gates.unwrap_or(0.0),
            clip_cell: clip.cell.unwrap_or(0.0),
            clip_hidden: clip.hidden.unwrap_or(0.0),
            clip_projection: clip.projection.unwrap_or(0.0),
            zoneout_hidden: op.spec.zoneout.hidden,
            zoneout_cell: op.spec.zoneout.cell,
            zero: 0,
            directions: word(op.directions),
            padding: 0,
            activations,
        }
    }
}
