//! [`MergeDirections`] and its backward [`SplitDirections`] on the CPU.

use crate::cpu::access::{Accesses, elements};
use crate::cpu::memory::Extent;
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::{Error, Result};
use crate::ops::{MergeDirections, Region, SplitDirections, TableOffset};

/// Whether a direction that is there runs backwards.
fn uses_table(states: [Option<Region>; 2], reverse: [bool; 2]) -> bool {
    (0..2).any(|direction| states[direction].is_some() && reverse[direction])
}

/// Checks that the table stays within `tokens` rows.
fn check_table(accesses: &Accesses<'_>, table: TableOffset, tokens: usize) -> Result<()> {
    let reached = accesses.rows_reached(table, tokens)?;
    if reached > tokens {
        return Err(Error::shape("reverse rows", tokens, reached));
    }
    Ok(())
}

impl Run for MergeDirections {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        if uses_table(self.states, self.reverse) {
            check_table(accesses, self.table, self.tokens)?;
        }
        for states in self.states {
            accesses.read_optional(states, elements(&[self.tokens, self.width]))?;
        }
        let output = elements(&[self.tokens, self.output_width()]);
        accesses.read_optional(self.residual, output)?;
        accesses.replace(self.output, output)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let first = context.memory.optional(self.states[0])?;
        let second = context.memory.optional(self.states[1])?;
        let residual = context.memory.optional(self.residual)?;
        let (states, residual) = ([first.as_deref(), second.as_deref()], residual.as_deref());
        let rows = match uses_table(self.states, self.reverse) {
            true => context.words(self.table, self.tokens),
            false => &[],
        };
        let (width, output_width) = (self.width, self.output_width());
        let mut output = context.memory.write(self.output.buffer)?;
        let output = &mut output[self.output.offset..][..self.tokens * output_width];
        for_rows(output, output_width, 1, |token, output| {
            match residual {
                Some(residual) => {
                    output.copy_from_slice(&residual[token * output_width..][..output_width]);
                }
                None => output.fill(0.0),
            }
            for (direction, states) in states.iter().enumerate() {
                let Some(states) = states else { continue };
                let row = match self.reverse[direction] {
                    true => rows[token] as usize,
                    false => token,
                };
                let start = if self.sum { 0 } else { direction * width };
                let target = &mut output[start..start + width];
                for (target, state) in target.iter_mut().zip(&states[row * width..]) {
                    *target += state;
                }
            }
        });
        Ok(())
    }
}

impl SplitDirections {
    fn output_width(&self) -> usize {
        match self.states[1].is_some() && !self.sum {
            true => 2 * self.width,
            false => self.width,
        }
    }
}

impl Run for SplitDirections {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        if uses_table(self.states, self.reverse) {
            check_table(accesses, self.table, self.tokens)?;
        }
        for states in self.states.into_iter().flatten() {
            accesses.replace(states, elements(&[self.tokens, self.width]))?;
        }
        accesses.read(self.output, elements(&[self.tokens, self.output_width()]))
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let rows = match uses_table(self.states, self.reverse) {
            true => context.words(self.table, self.tokens),
            false => &[],
        };
        let (width, output_width) = (self.width, self.output_width());
        let output = context.memory.part(self.output)?;
        let len = self.tokens * width;
        let parts = self
            .states
            .map(|states| Extent::optional(states, len, self.output));
        context.memory.write_parts(parts, |states| {
            for (direction, states) in states.into_iter().enumerate() {
                if states.is_empty() {
                    continue;
                }
                let start = if self.sum { 0 } else { direction * width };
                for_rows(states, width, 1, |row, state| {
                    // The permutation is its own inverse, so it serves this way round as well.
                    let token = match self.reverse[direction] {
                        true => rows[row] as usize,
                        false => row,
                    };
                    state.copy_from_slice(&output[token * output_width + start..][..width]);
                });
            }
        })
    }
}
