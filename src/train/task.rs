//! What a trainer is told about: data, and what a model is judged by.

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::model::{Batch, Predictor};

/// The data of a model, and what it is judged by: what a [`Trainer`](super::Trainer) trains on. The model is written as a
/// [graph](crate::model::Graph), the rest is in the trainer's [options](super::TrainerOptions).
///
/// Everything random in it has to be a function of a seed and an epoch, as all of [`data`](crate::data) is: then training
/// that was interrupted goes on bit for bit.
pub trait Task {
    /// An epoch's batches of samples, the same each time for the same epoch.
    ///
    /// # Errors
    /// The task's own.
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>>;

    /// A batch of samples: values for the model's inputs.
    ///
    /// # Errors
    /// The task's own.
    fn batch(&self, samples: &[usize]) -> Result<Batch>;

    /// Names of what it is judged by, at least one; the first decides which epoch is the best.
    fn metrics(&self) -> Vec<&str>;

    /// The metrics of the model as it is, on data that is not trained on.
    ///
    /// # Errors
    /// The task's own.
    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>>;

    /// Adds what the model is used with to a checkpoint: vocabularies, scalers, card. The trainer adds the model and its own state.
    ///
    /// # Errors
    /// The task's own.
    fn complete(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// Refuses a checkpoint of other data. The trainer refuses one of another model.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or the task's own, saying what differs.
    fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        let _ = checkpoint;
        Ok(())
    }
}

/// Batches that are there already: some to train on, others to judge by. The only metric is the loss on these, the mean over all
/// sequences.
///
/// ```
/// use wgpu_rnn::model::Batch;
/// use wgpu_rnn::train::Batches;
/// let batch = |x: f32| Batch::new().rows("x", vec![x; 4]);
/// let batches = Batches::new(vec![batch(0.5), batch(1.5)], vec![batch(1.0)])?;
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    training: Vec<Batch>,
    validation: Vec<Batch>,
}

impl Batches {
    /// Batches to train on, in this order in each epoch, and to judge by.
    ///
    /// # Errors
    /// [`Error::Data`] if there are none of one kind.
    pub fn new(training: Vec<Batch>, validation: Vec<Batch>) -> Result<Self> {
        for (what, batches) in [("training", &training), ("validation", &validation)] {
            if batches.is_empty() {
                return Err(Error::data(
                    format!("{what} batches"),
                    "at least one",
                    "none",
                ));
            }
        }
        Ok(Self {
            training,
            validation,
        })
    }
}

impl Task for Batches {
    fn batches(&self, _: u64) -> Result<Vec<Vec<usize>>> {
        Ok((0..self.training.len()).map(|batch| vec![batch]).collect())
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        let batch = samples.first().and_then(|&batch| self.training.get(batch));
        batch
            .cloned()
            .ok_or(Error::State("a batch that is not there"))
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["validation loss"]
    }

    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>> {
        let (mut sum, mut sequences) = (0.0, 0);
        for batch in &self.validation {
            let count = predictor.model().shape_of(batch)?.sequences();
            sum += predictor.loss(batch)? * count as f64;
            sequences += count;
        }
        Ok(vec![sum / sequences.max(1) as f64])
    }
}
