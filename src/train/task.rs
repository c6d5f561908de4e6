//! What a trainer is told about: a model, its data, and what it is judged by.

use std::fmt::Debug;

use crate::checkpoint::Checkpoint;
use crate::device::{Device, DeviceBuffer, Plan};
use crate::error::Result;
use crate::ops::{BufferId, Program, Region};
use crate::rnn::NetworkOptions;

/// A model with its data: what a [`Trainer`](super::Trainer) trains. Its parameters lie side by side in one flat buffer.
///
/// Everything random in it has to be a function of a seed and an epoch, as all of [`data`](crate::data) is: then training
/// that was interrupted goes on bit for bit.
pub trait Task {
    /// What decides on a batch's program, usually its [`Packing`](crate::Packing): batches of one shape that follow one
    /// another share a loaded program.
    type Shape: PartialEq + Debug;
    /// Where a program takes its batch from.
    type Inputs: Debug;

    /// Number of parameters.
    fn parameter_len(&self) -> usize;

    /// Parameters before training.
    ///
    /// # Errors
    /// The task's own.
    fn initial(&self, seed: u64) -> Result<Vec<f32>>;

    /// An epoch's batches of samples, the same each time for the same epoch.
    ///
    /// # Errors
    /// The task's own.
    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>>;

    /// The shape of a batch.
    ///
    /// # Errors
    /// The task's own.
    fn shape(&self, samples: &[usize]) -> Result<Self::Shape>;

    /// Timesteps of all sequences of a shape, for throughput.
    fn tokens(&self, shape: &Self::Shape) -> usize;

    /// Pushes everything from the inputs to the gradient of each parameter, in training mode. Returns the inputs and where
    /// the loss is, one element; the gradients are those of it.
    ///
    /// # Errors
    /// The task's own.
    fn push(
        &self,
        program: &mut Program,
        shape: &Self::Shape,
        places: TrainingPlaces,
    ) -> Result<(Self::Inputs, Region)>;

    /// The task's own buffers that a program is bound to, such as states that are carried from batch to batch.
    ///
    /// # Errors
    /// The task's own.
    fn bindings(&self, inputs: &Self::Inputs) -> Result<Vec<(BufferId, DeviceBuffer)>> {
        let _ = inputs;
        Ok(Vec::new())
    }

    /// Writes a batch to the inputs of a program of its shape.
    ///
    /// # Errors
    /// The task's own.
    fn write(&self, plan: &mut dyn Plan, inputs: &Self::Inputs, samples: &[usize]) -> Result<()>;

    /// Names of what it is judged by, at least one; the first decides which epoch is the best.
    fn metrics(&self) -> Vec<&str>;

    /// The metrics of these parameters, on data that is not trained on.
    ///
    /// # Errors
    /// The task's own.
    fn evaluate(&self, device: &dyn Device, parameters: &DeviceBuffer) -> Result<Vec<f64>>;

    /// A checkpoint of these parameters with all that the model is used with: vocabularies, scalers, card. The trainer adds
    /// its own state.
    ///
    /// # Errors
    /// The task's own.
    fn checkpoint(&self, parameters: &[f32]) -> Result<Checkpoint>;

    /// The parameters of a checkpoint, which is refused if it is of another model or other data.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) or the task's own, saying what differs.
    fn restore(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>>;
}

/// Where a task's program finds its parameters and leaves their gradients, and what a network in training is made with.
#[derive(Debug, Clone, Copy)]
pub struct TrainingPlaces {
    /// Training mode, saved gates, chunks as they suit the trainer's device: change what the task wants otherwise.
    pub options: NetworkOptions,
    /// The flat parameters.
    pub parameters: Region,
    /// The gradient of each, replaced.
    pub gradients: Region,
}
