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
        checkpoint.networks = networks
            .map(|(name, config)| (name.to_owned(), config.clone()))
            .collect();
        checkpoint.model = model.description();
        checkpoint.parameters = parameters.to_tensors()?;
        Ok(checkpoint)
    }

    /// The parameters for a model, whose recurrent networks and tensors have to be the checkpoint's; what else it is made of is not
    /// asked, so that a model without its losses can take them too. [`expect_model`](Self::expect_model) asks for all of it.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) names the first option of a network, or the first tensor, that differs.
    pub fn parameters_of(&self, model: &Model) -> Result<ModelParameters> {
        for (name, config) in model.networks() {
            self.expect_network(name, config)?;
        }
        ModelParameters::from_tensors(model.layout().clone(), &self.parameters)
    }
}
