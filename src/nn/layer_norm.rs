//! Layer normalisation of rows.

use super::layer::{
    BackwardPlaces, ForwardPlaces, GradientPlace, Layer, NodeShape, ParameterPlace, ParameterSpec,
    PushedLayer, ReferenceInputs, expect_inputs,
};
use crate::error::{Error, Result};
use crate::initial::ParameterInitial;
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
        check(width, epsilon)?;
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
        for (factor, target) in [(Some(d_x), gradients), (None, gradients.at(self.width))] {
            let gradient = GradientPlace {
                region: target,
                accumulate: false,
            };
            program.push(
                Section::Backward,
                self.vector_gradient(d_y, factor, gradient),
            );
        }
        program.push(Section::Backward, self.rows_gradient(parameters, d_y, d_x));
    }

    /// The gradient of the weight, with the normalised rows as factor, or of the bias.
    fn vector_gradient(
        &self,
        d_y: Region,
        factor: Option<Region>,
        gradient: GradientPlace,
    ) -> ColumnSums {
        ColumnSums {
            a: d_y,
            a_stride: self.width,
            b: factor,
            b_stride: self.width,
            target: gradient.region,
            rows: self.rows,
            columns: self.width,
            accumulate: gradient.accumulate,
        }
    }

    /// From the normalised rows in `d_x` to the gradient there.
    fn rows_gradient(&self, weight: Region, d_y: Region, d_x: Region) -> LayerNormRowsBackward {
        LayerNormRowsBackward {
            normalised: d_x,
            deviation: self.deviation.into(),
            scale: weight,
            gradient: d_y,
            rows: self.rows,
            hidden: self.width,
            slots: 1,
            slot_mask: 1,
        }
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
            b: None,
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

fn check(width: usize, epsilon: f32) -> Result<()> {
    if width == 0 {
        return Err(Error::option("width", "must be greater than zero"));
    }
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        let reason = format!("must be greater than zero and finite, not {epsilon}");
        return Err(Error::option("epsilon", reason));
    }
    Ok(())
}

/// [`LayerNorm`] as a layer of a model; its parameters are `weight` and `bias`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerNormLayer {
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

/// Layer normalisation in a program.
#[derive(Debug)]
struct PushedLayerNorm {
    norm: LayerNorm,
    weight: ParameterPlace,
    bias: ParameterPlace,
    x: Region,
    y: Region,
}

impl Layer for LayerNormLayer {
    fn kind(&self) -> &'static str {
        "layer norm"
    }

    fn settings(&self) -> String {
        format!("{}", self.width)
    }

    fn fingerprint(&self) -> String {
        format!("{}, epsilon {:e}", self.width, self.epsilon)
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let vector = |name, value| {
            ParameterSpec::new(name, &[self.width], ParameterInitial::Constant(value))
        };
        vec![vector("weight", 1.0), vector("bias", 0.0)]
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        check(self.width, self.epsilon)?;
        match x.width == self.width {
            true => Ok(vec![*x]),
            false => Err(Error::shape(
                "input of a layer norm",
                format!("rows of {}", self.width),
                x,
            )),
        }
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let x = places.inputs[0];
        let rows = places.rows(x.shape.rows)?;
        let y = places.output_buffer(0, "layer_norm", x.shape)?.into();
        let norm = LayerNorm::new(places.program, rows, self.width, self.epsilon)?;
        let (weight, bias) = (places.parameters[0], places.parameters[1]);
        let vectors = Some((weight.value, bias.value));
        norm.normalise(places.program, Section::Forward, (x.region, y), vectors);
        Ok(Box::new(PushedLayerNorm {
            norm,
            weight,
            bias,
            x: x.region,
            y,
        }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let (x, weight, bias) = (inputs.inputs[0], inputs.parameters[0], inputs.parameters[1]);
        let width = self.width as f64;
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(self.width) {
            let mean = row.iter().sum::<f64>() / width;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width;
            let deviation = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            let vectors = weight.iter().zip(bias);
            let normalised = row.iter().map(|x| (x - mean) * deviation);
            y.extend(
                normalised
                    .zip(vectors)
                    .map(|(x, (weight, bias))| x * weight + bias),
            );
        }
        Ok(vec![y])
    }
}

impl PushedLayer for PushedLayerNorm {
    fn outputs(&self) -> Vec<Region> {
        vec![self.y]
    }

    fn is_disposable(&self, _: usize) -> bool {
        true
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let Some(d_y) = places.output(0) else {
            return Ok(());
        };
        let len = self.norm.rows * self.norm.width;
        let d_x = places.target(0);
        // The normalised rows are wanted for the weight's gradient in any case.
        let d_x = d_x.unwrap_or_else(|| places.new_buffer("normalised", len));
        let program = &mut *places.program;
        self.norm
            .normalise(program, Section::Backward, (self.x, d_x), None);
        for (parameter, factor) in [(self.weight, Some(d_x)), (self.bias, None)] {
            if let Some(gradient) = parameter.gradient {
                let sums = self.norm.vector_gradient(d_y.region, factor, gradient);
                program.push(Section::Backward, sums);
            }
        }
        let rows = self.norm.rows_gradient(self.weight.value, d_y.region, d_x);
        program.push(Section::Backward, rows);
        Ok(())
    }
}
