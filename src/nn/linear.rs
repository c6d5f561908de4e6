//! A linear layer: the head on a network's outputs or final states.

use rand::{RngExt, SeedableRng};

use super::layer::{
    BackwardPlaces, ForwardPlaces, GradientPlace, Layer, NodeShape, ParameterPlace, ParameterSpec,
    PushedLayer, ReferenceInputs, expect_inputs,
};
use crate::error::{Error, Result, checked_product};
use crate::initial::ParameterInitial;
use crate::ops::{ColumnSums, Gemm, Matrix, Program, Region, Section};

/// `y = x W^T + b`, rows of `inputs` to rows of `outputs`.
///
/// Its parameters are flat: `W` as `[outputs, inputs]` (PyTorch's `weight`), then `b` as `[outputs]`; so they may lie
/// behind a network's in one buffer, and one optimizer step serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// A layer of the given widths.
    ///
    /// # Errors
    /// [`Error::Option`] if a width is zero, [`Error::Overflow`] if the weights do not fit a 32-bit index.
    pub fn new(inputs: usize, outputs: usize) -> Result<Self> {
        for (option, size) in [("inputs", inputs), ("outputs", outputs)] {
            if size == 0 {
                return Err(Error::option(option, "must be greater than zero"));
            }
        }
        let terms = inputs.saturating_add(1);
        checked_product("weights of a linear layer", &[terms, outputs])?;
        Ok(Self { inputs, outputs })
    }

    /// Features that enter.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Features that leave.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of parameters: weights and biases.
    pub fn parameter_len(&self) -> usize {
        (self.inputs + 1) * self.outputs
    }

    /// Pushes the forward: `x` is `[rows, inputs]`, `y` becomes `[rows, outputs]` and lies in another buffer.
    pub fn forward(
        &self,
        program: &mut Program,
        rows: usize,
        parameters: Region,
        (x, y): (Region, Region),
    ) {
        let gemm = Gemm {
            a: Matrix::rows(x, self.inputs),
            b: self.weight(parameters).transposed(),
            c: Matrix::rows(y, self.outputs),
            m: rows,
            n: self.outputs,
            k: self.inputs,
            map: None,
            bias: Some(self.bias(parameters)),
            accumulate: false,
        };
        program.push(Section::Forward, gemm);
    }

    /// Pushes the backward of the parameters: from `x` and the gradient `d_y` (both as in the forward) to `gradients`, laid
    /// out like the parameters and overwritten.
    pub fn backward_parameters(
        &self,
        program: &mut Program,
        rows: usize,
        gradients: Region,
        (x, d_y): (Region, Region),
    ) {
        let replace = |region| GradientPlace {
            region,
            accumulate: false,
        };
        let weight = self.weight_gradient(rows, (x, d_y), replace(gradients));
        program.push(Section::Backward, weight);
        let bias = self.bias_gradient(rows, d_y, replace(self.bias(gradients)));
        program.push(Section::Backward, bias);
    }

    /// The weights' gradient.
    fn weight_gradient(
        &self,
        rows: usize,
        (x, d_y): (Region, Region),
        gradient: GradientPlace,
    ) -> Gemm {
        Gemm {
            a: Matrix::rows(d_y, self.outputs).transposed(),
            b: Matrix::rows(x, self.inputs),
            c: self.weight(gradient.region),
            m: self.outputs,
            n: self.inputs,
            k: rows,
            map: None,
            bias: None,
            accumulate: gradient.accumulate,
        }
    }

    /// The bias's gradient.
    fn bias_gradient(&self, rows: usize, d_y: Region, gradient: GradientPlace) -> ColumnSums {
        ColumnSums {
            a: d_y,
            a_stride: self.outputs,
            b: None,
            b_stride: 0,
            target: gradient.region,
            rows,
            columns: self.outputs,
            accumulate: gradient.accumulate,
        }
    }

    /// The input's gradient.
    fn input_gradient(&self, rows: usize, weight: Region, (d_y, d_x): (Region, Region)) -> Gemm {
        Gemm {
            a: Matrix::rows(d_y, self.outputs),
            b: self.weight(weight),
            c: Matrix::rows(d_x, self.inputs),
            m: rows,
            n: self.inputs,
            k: self.outputs,
            map: None,
            bias: None,
            accumulate: false,
        }
    }

    /// Pushes the backward of the input: `d_x = d_y W`, `[rows, inputs]`, overwritten.
    pub fn backward_input(
        &self,
        program: &mut Program,
        rows: usize,
        parameters: Region,
        (d_y, d_x): (Region, Region),
    ) {
        let gemm = self.input_gradient(rows, parameters, (d_y, d_x));
        program.push(Section::Backward, gemm);
    }

    /// The same in plain loops on the host: `x` is `[rows, inputs]`, the result `[rows, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `parameters` or `x` has another length.
    pub fn apply(&self, parameters: &[f32], x: &[f32]) -> Result<Vec<f32>> {
        if parameters.len() != self.parameter_len() {
            return Err(Error::shape(
                "parameters of a linear layer",
                self.parameter_len(),
                parameters.len(),
            ));
        }
        if !x.len().is_multiple_of(self.inputs) {
            return Err(Error::shape(
                "input of a linear layer",
                format!("rows of {}", self.inputs),
                format!("{} values", x.len()),
            ));
        }
        let (weight, bias) = parameters.split_at(self.inputs * self.outputs);
        let row = |x: &[f32]| -> Vec<f32> {
            let outputs = weight.chunks_exact(self.inputs).zip(bias);
            outputs
                .map(|(weight, bias)| {
                    let terms = weight.iter().zip(x);
                    terms
                        .map(|(w, x)| f64::from(*w) * f64::from(*x))
                        .sum::<f64>()
                        + f64::from(*bias)
                })
                .map(|sum| sum as f32)
                .collect()
        };
        Ok(x.chunks_exact(self.inputs).flat_map(row).collect())
    }

    fn weight(&self, parameters: Region) -> Matrix {
        Matrix::rows(parameters, self.inputs)
    }

    fn bias(&self, parameters: Region) -> Region {
        parameters.at(self.inputs * self.outputs)
    }
}

/// A [`Linear`] as a layer of a model; its parameters are `weight` and, where there is one, `bias`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinearLayer {
    pub(crate) linear: Linear,
    pub(crate) has_bias: bool,
}

/// A linear layer in a program.
#[derive(Debug)]
struct PushedLinear {
    layer: LinearLayer,
    rows: usize,
    weight: ParameterPlace,
    bias: Option<ParameterPlace>,
    x: Region,
    y: Region,
}

impl Layer for LinearLayer {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn settings(&self) -> String {
        let Linear { inputs, outputs } = self.linear;
        let bias = if self.has_bias { "" } else { ", no bias" };
        format!("{inputs} -> {outputs}{bias}")
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let Linear { inputs, outputs } = self.linear;
        let initial = ParameterInitial::Uniform(1.0 / (inputs as f32).sqrt());
        let weight = ParameterSpec::new("weight", &[outputs, inputs], initial.clone());
        let bias = ParameterSpec::new("bias", &[outputs], initial);
        [weight, bias][..1 + usize::from(self.has_bias)].to_vec()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        match x.width == self.linear.inputs {
            true => Ok(vec![NodeShape::new(x.rows, self.linear.outputs)]),
            false => Err(Error::shape(
                "input of a linear layer",
                format!("rows of {}", self.linear.inputs),
                x,
            )),
        }
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let x = places.inputs[0];
        let shape = NodeShape::new(x.shape.rows, self.linear.outputs);
        let rows = places.rows(shape.rows)?;
        let y = places.output_buffer(0, "linear", shape)?.into();
        let (weight, bias) = (places.parameters[0], places.parameters.get(1).copied());
        let gemm = Gemm {
            a: Matrix::rows(x.region, self.linear.inputs),
            b: self.linear.weight(weight.value).transposed(),
            c: Matrix::rows(y, self.linear.outputs),
            m: rows,
            n: self.linear.outputs,
            k: self.linear.inputs,
            map: None,
            bias: bias.map(|bias| bias.value),
            accumulate: false,
        };
        places.program.push(Section::Forward, gemm);
        Ok(Box::new(PushedLinear {
            layer: *self,
            rows,
            weight,
            bias,
            x: x.region,
            y,
        }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let Linear {
            inputs: terms,
            outputs,
        } = self.linear;
        let (x, weight) = (inputs.inputs[0], inputs.parameters[0]);
        let bias = |output: usize| inputs.parameters.get(1).map_or(0.0, |bias| bias[output]);
        let mut y = Vec::with_capacity(x.len() / terms * outputs);
        for row in x.chunks_exact(terms) {
            for (output, weight) in weight.chunks_exact(terms).enumerate() {
                let products = weight.iter().zip(row).map(|(w, x)| w * x);
                y.push(products.sum::<f64>() + bias(output));
            }
        }
        Ok(vec![y])
    }
}

impl PushedLayer for PushedLinear {
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
        let linear = self.layer.linear;
        if let Some(gradient) = self.weight.gradient {
            let gemm = linear.weight_gradient(self.rows, (self.x, d_y.region), gradient);
            places.program.push(Section::Backward, gemm);
        }
        if let Some(gradient) = self.bias.and_then(|bias| bias.gradient) {
            let sums = linear.bias_gradient(self.rows, d_y.region, gradient);
            places.program.push(Section::Backward, sums);
        }
        if let Some(d_x) = places.target(0) {
            let gemm = linear.input_gradient(self.rows, self.weight.value, (d_y.region, d_x));
            places.program.push(Section::Backward, gemm);
        }
        Ok(())
    }
}

/// Initial parameters as PyTorch's: uniform in `±1 / sqrt(inputs)`, from a seed.
pub fn linear_parameters(linear: &Linear, seed: u64) -> Vec<f32> {
    let bound = 1.0 / (linear.inputs as f32).sqrt();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..linear.parameter_len())
        .map(|_| random.random_range(-bound..bound))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuDevice;
    use crate::device::Device;
    use crate::ops::Role;

    const INPUTS: usize = 2;
    const OUTPUTS: usize = 3;
    const ROWS: usize = 2;

    /// Small whole numbers: every product and sum is exact, so the comparisons are.
    #[test]
    fn forward_and_backward_by_hand() {
        let linear = Linear::new(INPUTS, OUTPUTS).unwrap();
        let mut program = Program::new();
        let mut buffer = |label, len| program.buffer(label, len, Role::Input);
        let parameters = buffer("parameters", linear.parameter_len());
        let gradients = buffer("gradients", linear.parameter_len());
        let [x, d_x] = ["x", "d_x"].map(|label| buffer(label, ROWS * INPUTS));
        let [y, d_y] = ["y", "d_y"].map(|label| buffer(label, ROWS * OUTPUTS));
        linear.forward(&mut program, ROWS, parameters.into(), (x.into(), y.into()));
        let of_parameters = (x.into(), d_y.into());
        linear.backward_parameters(&mut program, ROWS, gradients.into(), of_parameters);
        let of_input = (d_y.into(), d_x.into());
        linear.backward_input(&mut program, ROWS, parameters.into(), of_input);

        let mut plan = CpuDevice::new().unwrap().load(program, &[]).unwrap();
        let weights = [
            1.0, 2.0, -1.0, 0.0, 3.0, 1.0, /* bias */ 10.0, 20.0, 30.0,
        ];
        plan.write(parameters, &weights).unwrap();
        let values = [1.0, 2.0, 3.0, -1.0];
        plan.write(x, &values).unwrap();
        plan.write(d_y, &[1.0, 0.0, 2.0, -1.0, 1.0, 1.0]).unwrap();
        plan.run(Section::Forward).unwrap();
        plan.run(Section::Backward).unwrap();
        let mut read = |buffer, len| {
            let mut values = vec![f32::NAN; len];
            plan.read(buffer, &mut values).unwrap();
            values
        };
        let expected = [15.0, 19.0, 35.0, 11.0, 17.0, 38.0];
        assert_eq!(read(y, ROWS * OUTPUTS), expected);
        assert_eq!(linear.apply(&weights, &values).unwrap(), expected);
        assert_eq!(
            read(gradients, linear.parameter_len()),
            [-2.0, 3.0, 3.0, -1.0, 5.0, 3.0, 0.0, 1.0, 3.0]
        );
        assert_eq!(read(d_x, ROWS * INPUTS), [7.0, 4.0, 1.0, -1.0]);
    }

    #[test]
    fn bad_sizes_are_refused() {
        assert!(Linear::new(0, 1).is_err());
        assert!(Linear::new(1, 0).is_err());
        assert!(Linear::new(1 << 20, 1 << 20).is_err());
        let linear = Linear::new(2, 1).unwrap();
        assert!(linear.apply(&[0.0; 2], &[0.0; 2]).is_err());
        assert!(linear.apply(&[0.0; 3], &[0.0; 3]).is_err());
    }
}
