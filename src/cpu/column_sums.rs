//! [`ColumnSums`] on the CPU: threads share out columns; a column's rows are summed in blocks, the blocks in `f64`.

use crate::cpu::access::{Accesses, strided};
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::ColumnSums;

/// Columns that a thread sums together: a few cache lines of each row.
const COLUMNS: usize = 64;
/// Rows that are summed in `f32` before the sum goes into the `f64` total.
const ROWS: usize = 64;

impl Run for ColumnSums {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        accesses.read(self.a, strided(self.rows, self.a_stride, self.columns))?;
        accesses.read_optional(self.b, strided(self.rows, self.b_stride, self.columns))?;
        accesses.write(self.target, self.columns)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let a = context.memory.part(self.a)?;
        let b = context.memory.optional(self.b)?;
        let mut target = context.memory.write(self.target.buffer)?;
        let target = &mut target[self.target.offset..][..self.columns];
        for_rows(target, COLUMNS, 2 * self.rows.max(1), |tile, target| {
            let totals = self.totals(tile * COLUMNS, target.len(), &a, b.as_deref());
            for (target, total) in target.iter_mut().zip(totals) {
                let before = if self.accumulate {
                    f64::from(*target)
                } else {
                    0.0
                };
                *target = (before + total) as f32;
            }
        });
        Ok(())
    }
}

impl ColumnSums {
    /// The sums of `width` columns from `column` on.
    fn totals(&self, column: usize, width: usize, a: &[f32], b: Option<&[f32]>) -> [f64; COLUMNS] {
        let mut totals = [0.0; COLUMNS];
        for block in (0..self.rows).step_by(ROWS) {
            let mut sums = [0.0f32; COLUMNS];
            for row in block..self.rows.min(block + ROWS) {
                let a = &a[row * self.a_stride + column..][..width];
                match b {
                    None => {
                        for (sum, a) in sums.iter_mut().zip(a) {
                            *sum += a;
                        }
                    }
                    Some(b) => {
                        let b = &b[row * self.b_stride + column..][..width];
                        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                            *sum += a * b;
                        }
                    }
                }
            }
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        }
        totals
    }
}
