//! What raggedness costs: a ragged batch beside a dense one of the same network.
//!
//! The dense twin has as many timesteps as the longest sequence, so that the chain of steps that have to wait for each
//! other is as long, and the number of sequences that comes nearest to the same number of rows (steps of all sequences).
//! Times are compared for each row, since the twin's rows are a few more or less. Both batches are packed and brought to
//! the device in each call, and calls of the two alternate.

use std::sync::Arc;

use wgpu_rnn::{Device, Result};

use crate::definition::Workload;
use crate::measure::Times;
use crate::planned::{Data, Planned};
use crate::report::Report;
use crate::selection::Selection;

/// The twin of a batch whose lengths differ.
pub(crate) fn dense_twin(workload: &Workload) -> Option<Workload> {
    let longest = *workload.lengths.iter().max()?;
    let ragged = workload.lengths.iter().any(|&length| length < longest);
    let sequences = (workload.tokens() as f64 / longest as f64).round() as usize;
    ragged.then(|| Workload {
        lengths: vec![longest; sequences.max(1)],
        ..workload.clone()
    })
}

/// Times a workload beside its twin; one that is dense itself is left out.
pub(crate) fn compare(
    selection: &Selection,
    workload: &Workload,
    device: &Arc<dyn Device>,
    report: &Report,
) -> Result<()> {
    let Some(twin) = dense_twin(workload) else {
        return Ok(());
    };
    let mut ragged = Call::new(selection, workload, device)?;
    let mut dense = Call::new(selection, &twin, device)?;
    let calls: [&mut dyn FnMut() -> Result<()>; 2] = [&mut || ragged.run(), &mut || dense.run()];
    let [of_ragged, of_dense] = Times::alternating(selection.seconds, calls)?;
    report.twin(workload, &twin, [&of_ragged, &of_dense]);
    Ok(())
}

/// A batch and its plan.
struct Call {
    data: Data,
    planned: Planned,
    training: bool,
}

impl Call {
    fn new(selection: &Selection, workload: &Workload, device: &Arc<dyn Device>) -> Result<Self> {
        let data = Data::new(workload)?;
        let mode = workload.training.then(|| selection.gradient_mode());
        Ok(Self {
            planned: Planned::new(device, &data, &workload.lengths, mode)?,
            data,
            training: workload.training,
        })
    }

    fn run(&mut self) -> Result<()> {
        self.planned.write(&self.data.x)?;
        if self.training {
            self.planned.write_gradient(&self.data.d_y)?;
        }
        self.planned.run(self.training)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_has_the_same_steps_and_nearly_the_same_rows() {
        for workload in Workload::all() {
            let ragged = ["W3", "W5"].contains(&workload.name.as_str());
            let twin = dense_twin(&workload);
            assert_eq!(twin.is_some(), ragged, "{}", workload.name);
            if let Some(twin) = twin {
                assert_eq!((twin.lengths[0], twin.lengths.len()), (445, 19));
                let share = twin.tokens() as f64 / workload.tokens() as f64;
                assert!((share - 1.0).abs() < 0.01, "{share}");
            }
        }
    }
}
