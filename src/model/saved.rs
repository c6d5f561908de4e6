//! Models and checkpoints.

use super::{Model, ModelParameters};
use crate::checkpoint::Checkpoint;
use crate::error::Result;

impl Checkpoint {
    /// A checkpoint of a model with these parameters.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the parameters are another model's.
    pub fn of_model(model: &Model, parameters: &ModelParameters) -> Result<Self> {
        model.layout().check_same(parameters.layout())?;
        let networks = model.networks();
        let mut checkpoint = Self::new();
        checkpoint.networks =
            networks.map(|(name, config)| (name.to_owned(), config.clone())).collect();
        checkpoint.model = model.description();
        checkpoint.parameters = parameters.to_tensors()?;
        Ok(checkpoint)
    }

    /// The parameters of a model, which has to be the checkpoint's.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) names the first layer or tensor that differs.
    pub fn parameters_of(&self, model: &Model) -> Result<ModelParameters> {
        self.expect_model(&model.description())?;
        ModelParameters::from_tensors(model.layout().clone(), &self.parameters)
    }
}
