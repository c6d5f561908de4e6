//! [`StridedCopies`] on the CPU.

use crate::cpu::access::{Accesses, matrix};
use crate::cpu::run::{Context, Run};
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
        let rows = self.jobs.iter().map(|job| job.size[0]).max().unwrap_or(0);
        for first in (0..rows).step_by(TILE) {
            // Gates of one matrix interleave on one side: what one job leaves in a near cache, the next needs.
            for job in &self.jobs {
                copy(job, first, &source, &mut target, self.accumulate);
            }
        }
        Ok(())
    }
}

/// A transposing copy walks one of its sides across cache lines: so many elements of each line that it touches are copied
/// before it is given up. Lines that are a power of two apart share few places of a cache, which holds no more of them.
const TILE: usize = 16;

/// The rows of a job from `first` on that belong to one tile, column tile by column tile.
fn copy(job: &CopyJob, first: usize, source: &[f32], target: &mut [f32], accumulate: bool) {
    let [rows, columns] = job.size;
    for column_tile in (0..columns).step_by(TILE) {
        for row in first..rows.min(first + TILE) {
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
