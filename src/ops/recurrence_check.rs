//! What has to hold of a recurrence on every device. A program is data that anybody can write down; the kernels count on this.

use crate::config::Cell;
use crate::error::{Error, Result};
use crate::ops::{Recurrence, RecurrentBackward, elements};

/// Parts of the packed weights that the recurrence looks at, each `(offset, elements)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightParts {
    recurrent: (usize, usize),
    recurrent_transposed: (usize, usize),
    second: (usize, usize),
    second_transposed: (usize, usize),
    pub(crate) peephole: (usize, usize),
    pub(crate) norm_recurrent: (usize, usize),
    pub(crate) norm_cell_weight: (usize, usize),
    pub(crate) norm_cell_bias: (usize, usize),
    pub(crate) norm_gates: (usize, usize),
    pub(crate) gate_bias: (usize, usize),
    pub(crate) projection_bias: (usize, usize),
}

impl WeightParts {
    pub(crate) fn new(op: &Recurrence) -> Self {
        let (layout, spec, hidden) = (&op.layout, &op.spec, op.hidden);
        let units = elements(&[hidden, layout.slots]);
        let when = |present: bool, len: usize| if present { len } else { 0 };
        let (whole, per_gate) = (spec.is_whole_norm(), spec.is_per_gate_norm());
        let cell_norm = whole && spec.cell == Cell::Lstm;
        let recurrent = elements(&[op.state, units]);
        let second = when(spec.has_second_product(), elements(&[hidden, op.state]));
        let peephole = when(spec.peephole.is_some(), elements(&[3, hidden]));
        let projection_bias = spec.projection.is_some_and(|p| p.bias);
        Self {
            recurrent: (layout.recurrent, recurrent),
            recurrent_transposed: (layout.recurrent_transposed, recurrent),
            second: (layout.second, second),
            second_transposed: (layout.second_transposed, second),
            peephole: (layout.peephole, peephole),
            norm_recurrent: (layout.norm_recurrent, when(whole, units)),
            norm_cell_weight: (layout.norm_cell_weight, when(cell_norm, hidden)),
            norm_cell_bias: (layout.norm_cell_bias, when(cell_norm, hidden)),
            norm_gates: (layout.norm_gates, when(per_gate, units)),
            gate_bias: (layout.gate_bias, when(per_gate, units)),
            projection_bias: (layout.projection_bias, when(projection_bias, op.state)),
        }
    }

    fn matrices(&self) -> [(usize, usize); 4] {
        [
            self.recurrent,
            self.recurrent_transposed,
            self.second,
            self.second_transposed,
        ]
    }

    /// Those whose gradients are summed by the sweep, and the projection's bias.
    fn vectors(&self) -> [(usize, usize); 7] {
        [
            self.peephole,
            self.norm_recurrent,
            self.norm_cell_weight,
            self.norm_cell_bias,
            self.norm_gates,
            self.gate_bias,
            self.projection_bias,
        ]
    }
}

fn expect(what: &str, expected: usize, got: usize) -> Result<()> {
    match expected == got {
        true => Ok(()),
        false => Err(Error::shape(format!("recurrence: {what}"), expected, got)),
    }
}

/// Whether something is there exactly if it should be.
fn expect_present(what: &str, expected: bool, got: bool) -> Result<()> {
    expect(what, usize::from(expected), usize::from(got))
}

impl Recurrence {
    /// Checks everything that does not concern a buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] names what does not fit.
    pub(crate) fn validate(&self) -> Result<()> {
        let (packing, spec) = (&self.offsets, &self.spec);
        expect("sequences", packing.batch(), self.batch)?;
        expect("rows", packing.tokens(), self.tokens)?;
        expect("slots", spec.slots(), self.layout.slots)?;
        let state = spec.projection.map_or(self.hidden, |p| p.size);
        expect("state units", state, self.state)?;
        if self.directions == 0 || self.directions > 2 {
            return Err(Error::shape("directions", "1 or 2", self.directions));
        }
        self.validate_steps()?;
        self.validate_states()?;
        self.validate_weights()
    }

    fn validate_steps(&self) -> Result<()> {
        let (steps, offsets) = (&self.steps, self.offsets.offsets());
        if steps.end > self.offsets.steps() || steps.start > steps.end {
            let expected = format!("steps within 0..{}", self.offsets.steps());
            return Err(Error::shape("recurrence", expected, format!("{steps:?}")));
        }
        let rows = offsets[steps.start]..offsets[steps.end];
        if rows.start < self.first_row || rows.end - self.first_row > self.gate_rows {
            return Err(Error::shape(
                "rows of gates",
                format!("rows {rows:?}"),
                format!("{} rows from {}", self.gate_rows, self.first_row),
            ));
        }
        Ok(())
    }

    fn validate_states(&self) -> Result<()> {
        let spec = &self.spec;
        let is_lstm = spec.cell == Cell::Lstm;
        for states in [Some(&self.states), self.running.as_ref()] {
            let Some(states) = states else { continue };
            expect_present("cell states", is_lstm, states.c.is_some())?;
        }
        let second = spec.has_second_product();
        expect_present("second products", second, self.states.second.is_some())?;
        let sums = spec.is_whole_norm();
        expect_present("recurrent sums", sums, self.recurrent_sums.is_some())?;
        let states = self.running.as_ref().unwrap_or(&self.states);
        let apart = states.recurrent_input != states.h;
        expect_present("masked states", states.mask.is_some(), apart)
    }

    fn validate_weights(&self) -> Result<()> {
        let layout = &self.layout;
        if self.spec.has_second_product() {
            expect("second inputs", self.hidden, layout.second_inputs)?;
            expect("second outputs", self.state, layout.second_outputs)?;
        }
        let parts = WeightParts::new(self);
        let within = |(start, end): (usize, usize), of: &[(usize, usize)]| {
            let fits = |&(offset, len): &(usize, usize)| {
                len == 0 || (offset >= start && offset.saturating_add(len) <= end)
            };
            match start <= end && of.iter().all(fits) {
                true => Ok(()),
                false => Err(Error::shape(
                    "packed weights",
                    format!("parts within elements {start}..{end}"),
                    format!("{of:?}"),
                )),
            }
        };
        within((0, layout.len()), &parts.matrices())?;
        within(
            (layout.vectors, layout.recurrent_transposed),
            &parts.vectors(),
        )
    }
}

impl RecurrentBackward {
    /// Likewise.
    ///
    /// # Errors
    /// [`Error::Shape`] names what does not fit.
    pub(crate) fn validate(&self) -> Result<()> {
        let forward = &self.forward;
        forward.validate()?;
        let is_lstm = forward.spec.cell == Cell::Lstm;
        expect_present("cell gradient", is_lstm, self.c_gradient.is_some())?;
        match forward.layout.vectors_len() {
            0 => Ok(()),
            _ => expect_present("sums of vector gradients", true, self.vector_sums.is_some()),
        }
    }
}
