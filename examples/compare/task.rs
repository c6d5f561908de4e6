//! A problem as the library's trainer wants it.

use wgpu_rnn::Result;
use wgpu_rnn::checkpoint::{Checkpoint, ModelCard};
use wgpu_rnn::model::{Batch, Predictor};
use wgpu_rnn::train::Task;

use crate::predict::predict;
use crate::problem::{Part, Problem};

/// A problem that is learned.
#[derive(Debug)]
pub(crate) struct Learning<'a, P>(pub(crate) &'a P);

impl<P: Problem> Task for Learning<'_, P> {
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        self.0.batches(epoch)
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        self.0.batch(samples)
    }

    fn metrics(&self) -> Vec<&str> {
        self.0.metrics().to_vec()
    }

    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>> {
        let samples = self.0.part(Part::Validation);
        let predictions = predict(self.0, predictor, samples)?;
        Ok(self.0.judge(samples, &predictions)?.to_vec())
    }

    fn complete(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        checkpoint.card = ModelCard {
            name: format!("a network on {}, compared with others", self.0.name()),
            data: self.0.about(),
            ..ModelCard::default()
        };
        Ok(())
    }
}
