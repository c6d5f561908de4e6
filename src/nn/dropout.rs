//! Dropout outside of the recurrent layers.

use super::layer::{
    BackwardPlaces, BatchShape, ForwardPlaces, Layer, NodeShape, PushedLayer, ReferenceInputs,
    Rows, expect_inputs,
};
use crate::batch::Packing;
use crate::error::{Error, Result};
use crate::ops::{
    DropoutRows, Elementwise, ElementwiseKind, Mode, Program, RandomPurpose, RandomSite, Region,
    Section, TableOffset,
};
use crate::random::dropout_factor;

/// Layers of dropout of one program at most.
const MOST_LAYERS: u32 = 1 << 27;

/// Zeroes elements with a probability and scales the others by `1 / (1 - probability)` (Srivastava et al. 2014). Which ones is
/// drawn from the plan's seed, this layer's number, and an element's sequence, step and column, so that the backward finds the
/// same mask, and every device and packing draws the same.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    probability: f32,
    mode: Mode,
    site: RandomSite,
    rows: usize,
    sequences: TableOffset,
    steps: Option<TableOffset>,
}

impl Dropout {
    /// For one row a sequence, `batch` of them in the caller's order. Two layers of one program have different numbers. In
    /// [`Mode::Evaluation`] nothing is dropped.
    ///
    /// # Errors
    /// [`Error::Option`] if the probability is not in `0..1`, or the number not below 2^27.
    pub fn of_sequences(
        program: &mut Program,
        (probability, mode): (f32, Mode),
        number: u32,
        batch: usize,
    ) -> Result<Self> {
        let sequences: Vec<u32> = (0..batch as u32).collect();
        let tables = (program.table(&sequences), None);
        Self::new((probability, mode), number, batch, tables)
    }

    /// For one row a token of a packed batch.
    ///
    /// # Errors
    /// As [`of_sequences`](Self::of_sequences).
    pub fn of_tokens(
        program: &mut Program,
        (probability, mode): (f32, Mode),
        number: u32,
        packing: &Packing,
    ) -> Result<Self> {
        let sequences = program.table(&packing.sequence_of_rows());
        let steps = program.table(&packing.step_of_rows());
        let tables = (sequences, Some(steps));
        Self::new((probability, mode), number, packing.tokens(), tables)
    }

    fn new(
        (probability, mode): (f32, Mode),
        number: u32,
        rows: usize,
        (sequences, steps): (TableOffset, Option<TableOffset>),
    ) -> Result<Self> {
        check(probability, number)?;
        Ok(Self {
            probability,
            mode,
            site: site(number),
            rows,
            sequences,
            steps,
        })
    }

    /// Pushes the forward from `x` to `y`, rows of `width` elements; both may be the same region.
    pub fn forward(&self, program: &mut Program, width: usize, places: (Region, Region)) {
        self.push(program, Section::Forward, width, places);
    }

    /// Pushes the backward from the gradient `d_y` to `d_x`; both may be the same region.
    pub fn backward(&self, program: &mut Program, width: usize, places: (Region, Region)) {
        self.push(program, Section::Backward, width, places);
    }

    fn push(
        &self,
        program: &mut Program,
        section: Section,
        width: usize,
        (source, target): (Region, Region),
    ) {
        if self.mode == Mode::Training && self.probability > 0.0 {
            let dropout = DropoutRows {
                source: Some(source),
                target,
                rows: self.rows,
                width,
                sequences: self.sequences,
                steps: self.steps,
                probability: self.probability,
                site: self.site,
            };
            program.push(section, dropout);
        } else if source != target {
            let copy = Elementwise {
                kind: ElementwiseKind::Copy,
                a: source,
                b: None,
                target,
                len: self.rows * width,
            };
            program.push(section, copy);
        }
    }
}

fn check(probability: f32, number: u32) -> Result<()> {
    if !(0.0..1.0).contains(&probability) {
        let reason = format!("must be at least 0 and below 1, not {probability}");
        return Err(Error::option("dropout", reason));
    }
    if number >= MOST_LAYERS {
        let reason = "must be below 2^27";
        return Err(Error::option("number of a dropout layer", reason));
    }
    Ok(())
}

/// What the layer of this number draws.
fn site(number: u32) -> RandomSite {
    RandomSite {
        layer: number,
        direction: 0,
        purpose: RandomPurpose::Head,
    }
}

/// [`Dropout`] as a layer of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropoutLayer {
    pub(crate) probability: f32,
    /// Two layers of one model have different ones.
    pub(crate) number: u32,
}

/// Dropout in a program; without an operation where nothing is dropped.
#[derive(Debug)]
struct PushedDropout {
    operation: Option<DropoutRows>,
    y: Region,
    /// Whether the output is the input itself, changed or not.
    in_place: bool,
}

/// For each row the sequence and the step that it draws for; without steps a row is its sequence's only one.
fn drawn_for(batch: &BatchShape, rows: Rows) -> Result<(Vec<u32>, Option<Vec<u32>>)> {
    let sequences = || 0..batch.sequences() as u32;
    Ok(match rows {
        Rows::One => (vec![0], None),
        Rows::Sequences => (sequences().collect(), None),
        Rows::States(blocks) => {
            let each = (0..blocks as u32).flat_map(|block| sequences().map(move |s| (s, block)));
            let (sequences, steps) = each.unzip();
            (sequences, Some(steps))
        }
        Rows::Steps(axis) => {
            let packing = batch.packing(axis)?;
            (packing.sequence_of_rows(), Some(packing.step_of_rows()))
        }
    })
}

impl Layer for DropoutLayer {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn settings(&self) -> String {
        format!("{}", self.probability)
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        check(self.probability, self.number)?;
        Ok(vec![*x])
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let x = places.inputs[0];
        if !places.is_training() || self.probability == 0.0 {
            return Ok(Box::new(PushedDropout {
                operation: None,
                y: x.region,
                in_place: true,
            }));
        }
        let (sequences, steps) = drawn_for(places.batch, x.shape.rows)?;
        let y = match x.is_disposable {
            true => x.region,
            false => places.output_buffer(0, "dropout", x.shape)?.into(),
        };
        let operation = DropoutRows {
            source: Some(x.region),
            target: y,
            rows: sequences.len(),
            width: x.shape.width,
            sequences: places.program.table(&sequences),
            steps: steps.map(|steps| places.program.table(&steps)),
            probability: self.probability,
            site: site(self.number),
        };
        places.program.push(Section::Forward, operation);
        Ok(Box::new(PushedDropout {
            operation: Some(operation),
            y,
            in_place: x.is_disposable,
        }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let mut y = inputs.inputs[0].to_vec();
        if inputs.mode == Mode::Training && self.probability > 0.0 {
            let (sequences, steps) = drawn_for(inputs.batch, inputs.shapes[0].rows)?;
            let width = inputs.shapes[0].width;
            for (row, values) in y.chunks_exact_mut(width.max(1)).enumerate() {
                let step = steps.as_ref().map_or(0, |steps| steps[row]);
                for (column, value) in values.iter_mut().enumerate() {
                    let place = (sequences[row], step, column as u32);
                    let factor =
                        dropout_factor(inputs.seed, site(self.number), place, self.probability);
                    *value *= f64::from(factor);
                }
            }
        }
        Ok(vec![y])
    }
}

impl PushedLayer for PushedDropout {
    fn outputs(&self) -> Vec<Region> {
        vec![self.y]
    }

    fn is_alias(&self, _: usize) -> bool {
        self.in_place
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let Some(d_y) = places.output(0) else {
            return Ok(());
        };
        let Some(operation) = self.operation else {
            places.pass(0, d_y);
            return Ok(());
        };
        let target = match d_y.is_owned {
            true => Some(d_y.region),
            false => places.target(0),
        };
        let Some(target) = target else {
            return Ok(());
        };
        let operation = DropoutRows {
            source: Some(d_y.region),
            target,
            ..operation
        };
        places.program.push(Section::Backward, operation);
        if d_y.is_owned {
            places.give(0, target);
        }
        Ok(())
    }
}
