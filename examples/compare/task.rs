//! A network on a problem as the library's trainer wants it.

use wgpu_rnn::checkpoint::{Checkpoint, ModelCard};
use wgpu_rnn::ops::{Program, Region};
use wgpu_rnn::train::{Task, TrainingPlaces};
use wgpu_rnn::{Device, DeviceBuffer, Error, Packing, Plan, Result};

use std::sync::Arc;

use crate::model::{Model, Places};
use crate::predict::predict;
use crate::problem::{Part, Problem};

/// One network that learns one problem.
#[derive(Debug)]
pub(crate) struct Learning<'a, P> {
    pub(crate) problem: &'a P,
    pub(crate) model: &'a Model,
}

impl<P: Problem> Task for Learning<'_, P> {
    type Shape = Arc<Packing>;
    type Inputs = Places;

    fn parameter_len(&self) -> usize {
        self.model.len()
    }

    fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        self.model.initial(seed)
    }

    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        self.problem.batches(epoch)
    }

    fn shape(&self, samples: &[usize]) -> Result<Arc<Packing>> {
        Packing::new(&self.problem.lengths(samples)).map(Arc::new)
    }

    fn tokens(&self, shape: &Arc<Packing>) -> usize {
        shape.tokens()
    }

    fn push(
        &self,
        program: &mut Program,
        shape: &Arc<Packing>,
        places: TrainingPlaces,
    ) -> Result<(Places, Region)> {
        self.model.push_training(program, shape, places)
    }

    fn write(&self, plan: &mut dyn Plan, inputs: &Places, samples: &[usize]) -> Result<()> {
        let batch = self.problem.batch(samples)?;
        plan.write(inputs.records, &batch.records)?;
        match inputs.target {
            Some(target) => plan.write(target, &batch.targets),
            None => Err(Error::State("the program does not train")),
        }
    }

    fn metrics(&self) -> Vec<&str> {
        self.problem.metrics().to_vec()
    }

    fn evaluate(&self, device: &dyn Device, parameters: &DeviceBuffer) -> Result<Vec<f64>> {
        let samples = self.problem.part(Part::Validation);
        let trained = (self.model, device, parameters);
        let predictions = predict(self.problem, trained, samples)?;
        Ok(self.problem.judge(samples, &predictions)?.to_vec())
    }

    fn checkpoint(&self, parameters: &[f32]) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new(self.model.config.clone());
        let len = parameters.len();
        let tensors = &mut checkpoint.parameters;
        tensors.insert("all", vec![len], parameters.to_vec())?;
        checkpoint.card = ModelCard {
            name: format!("a network on {}, compared with others", self.problem.name()),
            data: self.problem.about(),
            ..ModelCard::default()
        };
        Ok(checkpoint)
    }

    fn restore(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>> {
        checkpoint.expect_config(&self.model.config)?;
        let shape = [self.model.len()];
        let expected = [("all", shape.as_slice())];
        checkpoint.parameters.expect("", expected)?;
        let all = checkpoint.parameters.get("all");
        Ok(all.map(|all| all.data().to_vec()).unwrap_or_default())
    }
}
