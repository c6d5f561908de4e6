//! Dropout outside of the recurrent layers.

use crate::batch::Packing;
use crate::error::{Error, Result};
use crate::ops::{
    DropoutRows, Elementwise, ElementwiseKind, Mode, Program, RandomPurpose, RandomSite, Region,
    Section, TableOffset,
};

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
        if !(0.0..1.0).contains(&probability) {
            let reason = format!("must be at least 0 and below 1, not {probability}");
            return Err(Error::option("dropout", reason));
        }
        if number >= 1 << 27 {
            return Err(Error::option(
                "number of a dropout layer",
                "must be below 2^27",
            ));
        }
        Ok(Self {
            probability,
            mode,
            site: RandomSite {
                layer: number,
                direction: 0,
                purpose: RandomPurpose::Head,
            },
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
                b: source,
                target,
                len: self.rows * width,
            };
            program.push(section, copy);
        }
    }
}
