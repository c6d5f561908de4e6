//! The buffers of the backward section.

use super::forward::Sharing;
use super::{Network, Sizes};
use crate::config::Cell;
use crate::ops::{BufferId, BufferSpec, Precision, Program, Region, Role};

/// Gradients in and out of a [`Network`].
#[derive(Debug, Clone, Copy)]
pub struct GradientBuffers {
    /// In: of the output, `[tokens, output size]`, zeros until written; without elements if none will come.
    pub y: BufferId,
    /// In: of the final hidden states; zeros until written.
    pub h_n: BufferId,
    /// In: of the final cell states; zeros until written.
    pub c_n: Option<BufferId>,
    /// Out: of the input, `[tokens, input size]`, if asked for.
    pub x: Option<BufferId>,
    /// Out: of the initial hidden states.
    pub h0: BufferId,
    /// Out: of the initial cell states.
    pub c0: Option<BufferId>,
    /// Out: of the parameters, flat.
    pub parameters: Region,
    /// Of inner layers' inputs, taken in turns.
    pub(super) between: [BufferId; 2],
}

/// What the backward of a layer works in.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerGradients {
    pub(super) packed: BufferId,
    /// Of the state rows, `[directions, tokens, state size]`.
    pub(super) rows: Region,
    /// Of the running states: h, c, scratch, mask and vector sums, as [`CarryOffsets`] says.
    pub(super) carry: Region,
}

impl Network {
    /// Adds the buffers of the backward section. Layers that are not at work at once share rows and carry.
    pub(super) fn allocate_gradients(
        &mut self,
        program: &mut Program,
        sizes: &Sizes,
        parameters: Region,
    ) -> GradientBuffers {
        self.allocate_layer_gradients(program);
        let is_lstm = self.config.spec().cell == Cell::Lstm;
        let tokens = self.packing.tokens();
        let between = match self.layers.len() {
            1 => 0,
            _ => tokens * self.config.output_size(),
        };
        let input_gradient = self.options.input_gradient;
        let y = match self.options.output_gradient {
            true => tokens * self.config.output_size(),
            false => 0,
        };
        GradientBuffers {
            y: program.buffer("d_y", y, Role::Input),
            h_n: program.buffer("d_h_n", sizes.state_h, Role::Input),
            c_n: is_lstm.then(|| program.buffer("d_c_n", sizes.state_c, Role::Input)),
            x: input_gradient.then(|| program.buffer("d_x", sizes.x, Role::Output)),
            h0: program.buffer("d_h0", sizes.state_h, Role::Output),
            c0: is_lstm.then(|| program.buffer("d_c0", sizes.state_c, Role::Output)),
            parameters,
            between: [(); 2].map(|()| program.buffer("d_between", between, Role::Workspace)),
        }
    }

    fn allocate_layer_gradients(&mut self, program: &mut Program) {
        let (batch, tokens) = (self.packing.batch(), self.packing.tokens());
        let directions = self.config.directions();
        let sharing = match self.wave_chunks.is_empty() {
            true => Sharing::Same,
            false => Sharing::SideBySide,
        };
        let layers = self.layers.len();
        let mut workspace = |label: &'static str, len| {
            let buffer = BufferSpec {
                label: label.into(),
                len,
                role: Role::Workspace,
                precision: Precision::F32,
            };
            sharing.allocate(program, layers, buffer)
        };
        let rows = workspace("d_rows", directions * tokens * self.config.state_size());
        let vectors = self.layers.iter().map(|layer| layer.layout.vectors_len());
        let carry = CarryOffsets::new(self, vectors.max().unwrap_or(0)).len;
        let carries = workspace("d_state", carry.max(batch));
        for (layer, (rows, carry)) in self.layers.iter_mut().zip(rows.into_iter().zip(carries)) {
            let len = match self.options.parameter_gradients {
                true => directions * layer.layout.gradient_len(),
                false => 0,
            };
            let packed = program.buffer("packed_gradients", len, Role::Packed);
            layer.gradients = Some(LayerGradients {
                packed,
                rows,
                carry,
            });
        }
    }
}

/// Where the parts of the backward's carry lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct CarryOffsets {
    pub(super) c: usize,
    pub(super) scratch: usize,
    pub(super) mask: usize,
    pub(super) vectors: usize,
    pub(super) len: usize,
}

impl CarryOffsets {
    /// For a layer whose packed vectors have so many elements.
    pub(super) fn new(network: &Network, vectors: usize) -> Self {
        let config = &network.config;
        let sequences = config.directions() * network.packing.batch();
        let c = sequences * config.state_size();
        let scratch = c + match config.spec().cell {
            Cell::Lstm => sequences * config.hidden_size(),
            _ => 0,
        };
        let mask = scratch + 2 * sequences * config.hidden_size();
        let vectors_at = mask
            + match { network.layers.iter() }.find_map(|layer| layer.running?.mask) {
                Some(_) => sequences * config.state_size(),
                None => 0,
            };
        Self {
            c,
            scratch,
            mask,
            vectors: vectors_at,
            len: vectors_at + sequences * vectors,
        }
    }
}
