//! Where a model's values come from: the inputs that the host writes.

use crate::error::{Error, Result};
use crate::ops::{BufferId, Region, Role};

use super::layer::{
    BackwardPlaces, ForwardPlaces, Layer, NodeShape, PushedLayer, ReferenceInputs, expect_inputs,
};

/// An input of a model: rows that the host writes before a run.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) shape: NodeShape,
}

#[derive(Debug)]
struct PushedInput(BufferId);

impl Layer for Input {
    fn kind(&self) -> &'static str {
        "input"
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn outputs(&self, _: &[NodeShape]) -> Result<Vec<NodeShape>> {
        Ok(vec![self.shape])
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let len = places.batch.elements(self.shape)?;
        let buffer = places.program.buffer(self.name.clone(), len, Role::Input);
        Ok(Box::new(PushedInput(buffer)))
    }

    fn reference(&self, _: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        Err(Error::State("an input is given, not computed"))
    }
}

impl PushedLayer for PushedInput {
    fn outputs(&self) -> Vec<Region> {
        vec![self.0.into()]
    }

    fn backward(&self, _: &mut BackwardPlaces<'_>) -> Result<()> {
        Ok(())
    }
}

/// The same values, across which no gradient passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop;

#[derive(Debug)]
struct PushedStop(Region);

impl Layer for Stop {
    fn kind(&self) -> &'static str {
        "stop"
    }

    fn settings(&self) -> String {
        "no gradient".to_owned()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        Ok(vec![*x])
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        Ok(Box::new(PushedStop(places.inputs[0].region)))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(vec![inputs.inputs[0].to_vec()])
    }

    fn stops_gradients(&self) -> bool {
        true
    }
}

impl PushedLayer for PushedStop {
    fn outputs(&self) -> Vec<Region> {
        vec![self.0]
    }

    fn is_alias(&self, _: usize) -> bool {
        true
    }

    fn backward(&self, _: &mut BackwardPlaces<'_>) -> Result<()> {
        Ok(())
    }
}
