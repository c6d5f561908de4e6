//! What a loss multiplies its elements with where that depends on the data: shared by
//! [`PointwiseLoss`](crate::ops::PointwiseLoss) and [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy).

use crate::error::Result;
use crate::gpu::kernel::lib;
use crate::gpu::recorder::{Binding, Dispatch, Recorder};
use crate::gpu::shader::{Access, Shader};
use crate::ops::Region;

/// Rows of one dispatch: 256 invocations walk them, and Mesa's software adapter silently ends an invocation's loops after
/// 65,535 iterations in total.
const ROWS_PER_DISPATCH: usize = 256 * 32_768;

/// The weights of a loss's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LossShare {
    /// `[rows]`
    pub(crate) weights: Option<Region>,
    /// `[rows]`: the class of each row, and the number of classes.
    pub(crate) classes: Option<(Region, usize)>,
    /// `[classes]`
    pub(crate) class_weights: Option<Region>,
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) width: usize,
    /// Where it goes in the scratch buffer.
    pub(crate) result: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    weights_offset: u32,
    expected_offset: u32,
    class_weights_offset: u32,
    classes: u32,
    rows: u32,
    row_start: u32,
    row_end: u32,
    width: f32,
    result: u32,
}

pub(crate) fn shader() -> Shader {
    use Access::{Read, ReadWrite};
    Shader::new(
        "loss_share",
        &[
            lib::NUMBER,
            lib::REDUCE,
            include_str!("../../../shaders/loss_share.wgsl"),
        ],
        &[Read, Read, Read, ReadWrite],
        size_of::<Params>(),
    )
    .with_overrides(&[
        ("HAS_WEIGHTS", 1.0),
        ("HAS_CLASSES", 1.0),
        ("HAS_CLASS_WEIGHTS", 1.0),
    ])
}

impl LossShare {
    /// Records it; `any` is some buffer that the operation reads, bound where there is nothing else.
    pub(crate) fn record(&self, any: Region, recorder: &mut Recorder<'_>) -> Result<()> {
        self.record_by(ROWS_PER_DISPATCH, any, recorder)
    }

    /// The same with so many rows a dispatch.
    fn record_by(&self, most: usize, any: Region, recorder: &mut Recorder<'_>) -> Result<()> {
        recorder.reserve_scratch(self.result + 1);
        let (expected, classes) = self.classes.unwrap_or((any, 0));
        let (weights, class_weights) = (
            self.weights.unwrap_or(any),
            self.class_weights.unwrap_or(any),
        );
        let flag = |present: bool| f64::from(u8::from(present));
        let mut row_start = 0;
        // A sum over no rows still writes a share of 0.
        loop {
            let row_end = self.rows.min(row_start + most);
            recorder.dispatch(&Dispatch {
                shader: &shader(),
                overrides: &[
                    ("HAS_WEIGHTS", flag(self.weights.is_some())),
                    ("HAS_CLASSES", flag(self.classes.is_some())),
                    ("HAS_CLASS_WEIGHTS", flag(self.class_weights.is_some())),
                ],
                uniform: bytemuck::bytes_of(&Params {
                    weights_offset: weights.offset as u32,
                    expected_offset: expected.offset as u32,
                    class_weights_offset: class_weights.offset as u32,
                    classes: classes as u32,
                    rows: self.rows as u32,
                    row_start: row_start as u32,
                    row_end: row_end as u32,
                    width: self.width as f32,
                    result: self.result as u32,
                }),
                step: None,
                bindings: &[
                    Binding::Read(weights.buffer),
                    Binding::Read(expected.buffer),
                    Binding::Read(class_weights.buffer),
                    Binding::ScratchWrite,
                ],
                workgroups: [1, 1, 1],
                cost: (row_end - row_start) as u64,
            })?;
            row_start = row_end;
            if row_start == self.rows {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Plan;
    use crate::gpu::kernel::sum_partials;
    use crate::gpu::plan::GpuPlan;
    use crate::gpu::{GpuDevice, GpuOptions};
    use crate::ops::{Program, Role, Section};

    /// The share of 1,000 rows by so many a dispatch, and how many dispatches that took.
    fn share_by(most: usize, weights: &[f32]) -> (f32, usize) {
        let device = GpuDevice::request_blocking(&GpuOptions::new()).unwrap();
        let mut program = Program::new();
        let rows = program.buffer("weights", weights.len(), Role::Input);
        let share = program.buffer("share", 1, Role::Output);
        let mut recorder = Recorder::new(device.loader(), &program, &[]);
        recorder.section(Section::Forward as usize);
        let sum = LossShare {
            weights: Some(rows.into()),
            classes: None,
            class_weights: None,
            rows: weights.len(),
            width: 3,
            result: 0,
        };
        sum.record_by(most, rows.into(), &mut recorder).unwrap();
        sum_partials::record([1, 1, 1], share.into(), 1.0, &mut recorder).unwrap();
        let recording = recorder.finish();
        let mut plan = GpuPlan::assemble(device.loader(), program, &[], recording).unwrap();
        plan.write(rows, weights).unwrap();
        plan.run(Section::Forward).unwrap();
        let mut result = [0.0];
        plan.read(share, &mut result).unwrap();
        (result[0], plan.dispatches(Section::Forward) - 1)
    }

    #[test]
    fn several_dispatches_go_on_with_the_sum() {
        // Multiples of 1/4: the sum is exact.
        let weights: Vec<f32> = (0..1000).map(|row| (row % 7) as f32 / 4.0).collect();
        let sum: f32 = weights.iter().sum();
        for (most, dispatches) in [(1000, 1), (999, 2), (256, 4), (ROWS_PER_DISPATCH, 1)] {
            let (share, count) = share_by(most, &weights);
            assert_eq!(count, dispatches, "{most} rows a dispatch");
            let error = (share * 3.0 * sum - 1.0).abs();
            assert!(
                error < 4.0 * f32::EPSILON,
                "{most} rows a dispatch: {share}"
            );
        }
        assert_eq!(share_by(300, &[0.0; 1000]), (0.0, 4));
        assert_eq!(share_by(300, &[]), (0.0, 1));
    }

    #[test]
    fn an_invocation_stays_within_the_adapters_iterations() {
        // The rows, and the reduction's rounds.
        const { assert!(ROWS_PER_DISPATCH / 256 + 8 < 65_535) };
    }
}
