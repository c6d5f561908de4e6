//! [`StridedCopies`] on the CPU.

use crate::cpu::access::{Accesses, matrix};
use crate::cpu::plan::{Context, Run};
use crate::error::Result;
use crate::ops::{CopyJob, Matrix, Region, StridedCopies};

impl Run for StridedCopies {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        // Jobs interleave, so the whole reach of all jobs is one access.
        let reach = |place: fn(&CopyJob) -> (usize, [usize; 2])| {
            let ends = self.jobs.iter().map(|job| {
                let (start, strides) = place(job);
                let matrix_of = Matrix {
                    region: Region::from(self.source),
                    strides,
                };
                match matrix(&matrix_of, job.size[0], job.size[1]) {
                    0 => 0,
                    len => start.saturating_add(len),
                }
            });
            ends.max().unwrap_or(0)
        };
        accesses.read(
            self.source.into(),
            reach(|job| (job.source, job.source_strides)),
        )?;
        accesses.write(
            self.target.into(),
            reach(|job| (job.target, job.target_strides)),
        )
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let source = context.memory.read(self.source)?;
        let mut target = context.memory.write(self.target)?;
        for job in &self.jobs {
            copy(job, &source, &mut target, self.accumulate);
        }
        Ok(())
    }
}

/// One job, a tile at a time: a transposing copy walks one of its sides across cache lines.
fn copy(job: &CopyJob, source: &[f32], target: &mut [f32], accumulate: bool) {
    const TILE: usize = 32;
    let [rows, columns] = job.size;
    for row_tile in (0..rows).step_by(TILE) {
        for column_tile in (0..columns).step_by(TILE) {
            for row in row_tile..rows.min(row_tile + TILE) {
                let from = job.source + row * job.source_strides[0];
                let to = job.target + row * job.target_strides[0];
                for column in column_tile..columns.min(column_tile + TILE) {
                    let value = source[from + column * job.source_strides[1]];
                    let target = &mut target[to + column * job.target_strides[1]];
                    *target = if accumulate { *target + value } else { value };
                }
            }
        }
    }
}
