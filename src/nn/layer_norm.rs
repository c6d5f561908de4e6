//! Layer normalisation of rows.

use crate::error::{Error, Result};
use crate::ops::{
    BufferId, ColumnSums, Elementwise, ElementwiseKind, LayerNormRows, LayerNormRowsBackward,
    Program, Region, Role, Section,
};

/// Layer normalisation (Ba et al. 2016): each row to mean 0 and variance 1, then scaled and shifted,
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`.
///
/// Its parameters are flat: PyTorch's `weight`, then `bias`, `[width]` each.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    width: usize,
    epsilon: f32,
    rows: usize,
    deviation: BufferId,
}

impl LayerNorm {
    /// For `rows` rows of `width` elements; adds its buffer to `program`. PyTorch's `epsilon` is 1e-5.
    ///
    /// # Errors
    /// [`Error::Option`] if the width is zero, or `epsilon` is not greater than zero.
    pub fn new(program: &mut Program, rows: usize, width: usize, epsilon: f32) -> Result<Self> {
        if width == 0 {
            return Err(Error::option("width", "must be greater than zero"));
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let reason = format!("must be greater than zero and finite, not {epsilon}");
            return Err(Error::option("epsilon", reason));
        }
        Ok(Self {
            width,
            epsilon,
            rows,
            deviation: program.buffer("deviation", rows, Role::Workspace),
        })
    }

    /// Number of parameters of a layer of this width.
    pub fn parameter_len(&self) -> usize {
        2 * self.width
    }

    /// Initial parameters: weights 1, biases 0.
    pub fn parameters(&self) -> Vec<f32> {
        let mut parameters = vec![1.0; self.width];
        parameters.resize(self.parameter_len(), 0.0);
        parameters
    }

    /// Pushes the forward: from `x` to `y`, `[rows, width]` each, in two buffers. The backward reads `x` again.
    pub fn forward(&self, program: &mut Program, parameters: Region, (x, y): (Region, Region)) {
        let vectors = Some((parameters, parameters.at(self.width)));
        self.normalise(program, Section::Forward, (x, y), vectors);
    }

    /// Pushes the backward: from `x` and the gradient `d_y` to `d_x` and `gradients`, laid out like the parameters; both
    /// overwritten. The normalised rows are computed anew in `d_x`: cheaper than to keep them.
    pub fn backward(
        &self,
        program: &mut Program,
        (parameters, gradients): (Region, Region),
        (x, d_y, d_x): (Region, Region, Region),
    ) {
        self.normalise(program, Section::Backward, (x, d_x), None);
        for (b, target) in [(Some(d_x), gradients), (None, gradients.at(self.width))] {
            let sums = ColumnSums {
                a: d_y,
                a_stride: self.width,
                b,
                b_stride: self.width,
                target,
                rows: self.rows,
                columns: self.width,
                accumulate: false,
            };
            program.push(Section::Backward, sums);
        }
        let rows = LayerNormRowsBackward {
            normalised: d_x,
            deviation: self.deviation.into(),
            scale: parameters,
            gradient: d_y,
            rows: self.rows,
            hidden: self.width,
            slots: 1,
            slot_mask: 1,
        };
        program.push(Section::Backward, rows);
    }

    /// Copies rows and normalises them where they are.
    fn normalise(
        &self,
        program: &mut Program,
        section: Section,
        (source, target): (Region, Region),
        vectors: Option<(Region, Region)>,
    ) {
        let copy = Elementwise {
            kind: ElementwiseKind::Copy,
            a: source,
            b: source,
            target,
            len: self.rows * self.width,
        };
        program.push(section, copy);
        let rows = LayerNormRows {
            values: target,
            deviation: self.deviation.into(),
            scale: vectors.map(|(scale, _)| scale),
            bias: vectors.map(|(_, bias)| bias),
            rows: self.rows,
            hidden: self.width,
            slots: 1,
            slot_mask: 1,
            epsilon: self.epsilon,
        };
        program.push(section, rows);
    }
}
