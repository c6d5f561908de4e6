//! Layers without parameters that work on elements or columns: sums, products, activations, concatenation, slices.

use std::ops::Range;

use crate::cell::activate;
use crate::config::Activation;
use crate::error::{Error, Result};
use crate::ops::{CopyJob, Elementwise, ElementwiseKind, Fill, Region, Section, StridedCopies};

use super::layer::{
    BackwardPlaces, ForwardPlaces, Layer, NodeShape, PushedLayer, ReferenceInputs, expect_inputs,
};

/// What [`Combine`] makes of two inputs, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    Add,
    Subtract,
    Multiply,
}

/// Two inputs in a program, element by element.
#[derive(Debug)]
struct PushedCombine {
    kind: Combine,
    inputs: [Region; 2],
    y: Region,
    len: usize,
}

impl Layer for Combine {
    fn kind(&self) -> &'static str {
        match self {
            Self::Add => "sum",
            Self::Subtract => "difference",
            Self::Multiply => "product",
        }
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [a, b] = expect_inputs(self.kind(), inputs)?;
        match a == b {
            true => Ok(vec![*a]),
            false => Err(Error::shape(
                format!("second input of a {}", self.kind()),
                a,
                b,
            )),
        }
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let (a, b) = (places.inputs[0], places.inputs[1]);
        let len = places.batch.elements(a.shape)?;
        let y: Region = places.output_buffer(0, "combined", a.shape)?.into();
        let operation = Elementwise {
            kind: match self {
                Self::Add => ElementwiseKind::Add,
                Self::Subtract => ElementwiseKind::Subtract,
                Self::Multiply => ElementwiseKind::Multiply,
            },
            a: a.region,
            b: Some(b.region),
            target: y,
            len,
        };
        places.program.push(Section::Forward, operation);
        Ok(Box::new(PushedCombine {
            kind: *self,
            inputs: [a.region, b.region],
            y,
            len,
        }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let pairs = inputs.inputs[0].iter().zip(inputs.inputs[1]);
        let combine = |(a, b): (&f64, &f64)| match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
        };
        Ok(vec![pairs.map(combine).collect()])
    }
}

impl PushedLayer for PushedCombine {
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
        let [a, b] = self.inputs;
        match self.kind {
            Combine::Add => {
                places.pass(0, d_y.shared());
                places.pass(1, d_y.shared());
            }
            Combine::Subtract => {
                places.pass(0, d_y.shared());
                let minus = ElementwiseKind::Scale { factor: -1.0 };
                push_to(places, 1, minus, (d_y.region, None), self.len);
            }
            Combine::Multiply => {
                for (input, other) in [(0, b), (1, a)] {
                    let factors = (d_y.region, Some(other));
                    push_to(places, input, ElementwiseKind::Multiply, factors, self.len);
                }
            }
        }
        Ok(())
    }
}

/// Pushes what computes the gradient of an input, if that is wanted.
fn push_to(
    places: &mut BackwardPlaces<'_>,
    input: usize,
    kind: ElementwiseKind,
    (a, b): (Region, Option<Region>),
    len: usize,
) {
    if let Some(target) = places.target(input) {
        let operation = Elementwise {
            kind,
            a,
            b,
            target,
            len,
        };
        places.program.push(Section::Backward, operation);
    }
}

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Map {
    Scale(f32),
    Activate(Activation),
}

/// A function of each element in a program.
#[derive(Debug)]
struct PushedMap {
    map: Map,
    x: Region,
    y: Region,
    len: usize,
}

impl Layer for Map {
    fn kind(&self) -> &'static str {
        match self {
            Self::Scale(_) => "scale",
            Self::Activate(_) => "activation",
        }
    }

    fn settings(&self) -> String {
        match self {
            Self::Scale(factor) => format!("{factor}"),
            Self::Activate(activation) => format!("{activation:?}"),
        }
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        let numbers = match self {
            Self::Scale(factor) => [*factor, 0.0],
            Self::Activate(activation) => {
                let (_, alpha, beta) = activation.code();
                [alpha, beta]
            }
        };
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(number) => {
                let what = format!("number of a layer `{}`", self.kind());
                Err(Error::data(what, "a finite one", number))
            }
            None => Ok(vec![*x]),
        }
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let x = places.inputs[0];
        let len = places.batch.elements(x.shape)?;
        let y: Region = places.output_buffer(0, "mapped", x.shape)?.into();
        let operation = Elementwise {
            kind: match *self {
                Self::Scale(factor) => ElementwiseKind::Scale { factor },
                Self::Activate(activation) => ElementwiseKind::Activate(activation),
            },
            a: x.region,
            b: None,
            target: y,
            len,
        };
        places.program.push(Section::Forward, operation);
        Ok(Box::new(PushedMap {
            map: *self,
            x: x.region,
            y,
            len,
        }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let map = |x: &f64| match *self {
            Self::Scale(factor) => f64::from(factor) * x,
            Self::Activate(activation) => activate(activation, *x),
        };
        Ok(vec![inputs.inputs[0].iter().map(map).collect()])
    }
}

impl PushedLayer for PushedMap {
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
        let (kind, operands) = match self.map {
            Map::Scale(factor) => (ElementwiseKind::Scale { factor }, (d_y.region, None)),
            Map::Activate(activation) => (
                ElementwiseKind::ActivateBackward(activation),
                (self.x, Some(d_y.region)),
            ),
        };
        push_to(places, 0, kind, operands, self.len);
        Ok(())
    }
}

/// Inputs side by side: `[rows, sum of the widths]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Concatenate;

/// Some columns of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice(pub(crate) Range<usize>);

/// Columns of a narrow matrix among those of a wide one, in a program.
#[derive(Debug, Clone, Copy)]
struct Columns {
    narrow: Region,
    width: usize,
    wide: Region,
    first: usize,
    wide_width: usize,
    rows: usize,
}

impl Columns {
    /// The copy from the narrow matrix to the wide one.
    fn into_wide(self) -> StridedCopies {
        self.copies(false)
    }

    /// The copy from the wide matrix to the narrow one.
    fn into_narrow(self) -> StridedCopies {
        self.copies(true)
    }

    fn copies(self, narrows: bool) -> StridedCopies {
        let narrow = (self.narrow.offset, [self.width, 1]);
        let wide = (self.wide.offset + self.first, [self.wide_width, 1]);
        let (source, target) = if narrows {
            (wide, narrow)
        } else {
            (narrow, wide)
        };
        let buffers = [self.narrow.buffer, self.wide.buffer];
        let job = CopyJob {
            source: source.0,
            target: target.0,
            size: [self.rows, self.width],
            source_strides: source.1,
            target_strides: target.1,
        };
        StridedCopies {
            source: buffers[usize::from(narrows)],
            target: buffers[usize::from(!narrows)],
            // A job without elements is none.
            jobs: if self.rows * self.width == 0 {
                Vec::new()
            } else {
                vec![job]
            },
            accumulate: false,
        }
    }
}

/// Inputs side by side in a program.
#[derive(Debug)]
struct PushedConcatenate {
    parts: Vec<Columns>,
    y: Region,
}

impl Layer for Concatenate {
    fn kind(&self) -> &'static str {
        "concatenation"
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let Some(first) = inputs.first() else {
            return Err(Error::shape("inputs of a concatenation", "at least one", 0));
        };
        let mut width = 0usize;
        for input in inputs {
            if input.rows != first.rows {
                return Err(Error::shape(
                    "input of a concatenation",
                    first.rows,
                    input.rows,
                ));
            }
            width = width.saturating_add(input.width);
        }
        crate::error::checked_product("width of a concatenation", &[width])?;
        Ok(vec![NodeShape::new(first.rows, width)])
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let inputs = places.inputs;
        let wide_width = inputs.iter().map(|input| input.shape.width).sum();
        let shape = NodeShape::new(inputs[0].shape.rows, wide_width);
        let rows = places.rows(shape.rows)?;
        let y: Region = places.output_buffer(0, "concatenated", shape)?.into();
        let (mut parts, mut first) = (Vec::with_capacity(inputs.len()), 0);
        for input in inputs {
            let part = Columns {
                narrow: input.region,
                width: input.shape.width,
                wide: y,
                first,
                wide_width,
                rows,
            };
            first += part.width;
            places.program.push(Section::Forward, part.into_wide());
            parts.push(part);
        }
        Ok(Box::new(PushedConcatenate { parts, y }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let rows = inputs.batch.rows(inputs.shapes[0].rows)?;
        let mut y = Vec::new();
        for row in 0..rows {
            for (x, shape) in inputs.inputs.iter().zip(&inputs.shapes) {
                y.extend_from_slice(&x[row * shape.width..(row + 1) * shape.width]);
            }
        }
        Ok(vec![y])
    }
}

impl PushedLayer for PushedConcatenate {
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
        for (input, part) in self.parts.iter().enumerate() {
            if let Some(narrow) = places.target(input) {
                let part = Columns {
                    narrow,
                    wide: d_y.region,
                    ..*part
                };
                places.program.push(Section::Backward, part.into_narrow());
            }
        }
        Ok(())
    }
}

/// Some columns in a program.
#[derive(Debug)]
struct PushedSlice(Columns);

impl Layer for Slice {
    fn kind(&self) -> &'static str {
        "slice"
    }

    fn settings(&self) -> String {
        format!("columns {}..{}", self.0.start, self.0.end)
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        let Range { start, end } = self.0;
        match start < end && end <= x.width {
            true => Ok(vec![NodeShape::new(x.rows, end - start)]),
            false => Err(Error::shape(
                "columns of a slice",
                format!("some of 0..{}", x.width),
                format!("{start}..{end}"),
            )),
        }
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let x = places.inputs[0];
        let shape = NodeShape::new(x.shape.rows, self.0.len());
        let columns = Columns {
            narrow: places.output_buffer(0, "slice", shape)?.into(),
            width: shape.width,
            wide: x.region,
            first: self.0.start,
            wide_width: x.shape.width,
            rows: places.rows(shape.rows)?,
        };
        places.program.push(Section::Forward, columns.into_narrow());
        Ok(Box::new(PushedSlice(columns)))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let rows = inputs.inputs[0].chunks_exact(inputs.shapes[0].width);
        Ok(vec![
            rows.flat_map(|row| row[self.0.clone()].to_vec()).collect(),
        ])
    }
}

impl PushedLayer for PushedSlice {
    fn outputs(&self) -> Vec<Region> {
        vec![self.0.narrow]
    }

    fn is_disposable(&self, _: usize) -> bool {
        true
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let Some(d_y) = places.output(0) else {
            return Ok(());
        };
        if let Some(wide) = places.target(0) {
            let columns = Columns {
                narrow: d_y.region,
                wide,
                first: self.0.first,
                ..self.0
            };
            // The other columns have none.
            let zero = Fill {
                target: wide,
                len: columns.rows * columns.wide_width,
                value: 0.0,
            };
            places.program.push(Section::Backward, zero);
            places.program.push(Section::Backward, columns.into_wide());
        }
        Ok(())
    }
}
