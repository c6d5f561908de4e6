//! The model in training as a checkpoint, and back.

use std::path::Path;

use wgpu_rnn::checkpoint::{Checkpoint, ModelCard, Tensors};
use wgpu_rnn::train::OptimizerState;
use wgpu_rnn::{Error, ParameterLayout, Parameters, Result};

use crate::dataset::Encoder;
use crate::model::Model;
use crate::train::Training;

/// What the optimizer's state is called.
const OPTIMIZER: &str = "adam";
/// The feature that is numbered, and those that are scaled.
const EVENT: &str = "event";
const SCALARS: &str = "scalars";

/// Writes everything that training goes on from, and what the model is used with.
pub(crate) fn save(training: &Training<'_>, encoder: &Encoder, path: &Path) -> Result<()> {
    let (model, device) = (training.model, training.device);
    let parameters = device.read(&training.weights.parameters, 0..model.len())?;
    let mut checkpoint = Checkpoint::new(model.config.clone());
    checkpoint.parameters = tensors(model, &parameters)?;
    checkpoint.optimizer.kind = OPTIMIZER.to_owned();
    let state = training
        .optimizer
        .save(device, &training.weights.optimizer)?;
    let shape = vec![state.values.len()];
    let tensors = &mut checkpoint.optimizer.tensors;
    tensors.insert("state", shape, state.values)?;
    let standing = &training.standing;
    checkpoint.position.seed = training.options.seed;
    checkpoint.position.epoch = standing.epoch;
    checkpoint.position.batch = standing.batch;
    checkpoint.position.step = standing.step;
    let vocabularies = &mut checkpoint.vocabularies;
    vocabularies.insert(EVENT.to_owned(), encoder.vocabulary.clone());
    let scalers = &mut checkpoint.scalers;
    scalers.insert(SCALARS.to_owned(), encoder.scaler.clone());
    checkpoint.set_section("standing", standing)?;
    checkpoint.set_section("options", &training.options)?;
    checkpoint.set_section("schedule", &training.schedule)?;
    checkpoint.set_section("stopping", &training.stopping)?;
    checkpoint.card = ModelCard {
        name: "ticket escalation forecaster, in training".to_owned(),
        ..ModelCard::default()
    };
    checkpoint.save(path)
}

/// Puts a checkpoint's state into `training`, which has to be of the same data, model and options.
pub(crate) fn resume(training: &mut Training<'_>, encoder: &Encoder, path: &Path) -> Result<()> {
    let checkpoint = Checkpoint::load(path)?;
    let parameters = parameters(&checkpoint, training.model, encoder)?;
    checkpoint.expect_optimizer(OPTIMIZER)?;
    if checkpoint.section::<crate::train::TrainingOptions>("options")? != training.options {
        return Err(Error::Checkpoint(format!(
            "`{}` was trained with other options: give the same ones, or leave out --resume",
            path.display()
        )));
    }
    let device = training.device;
    device.write(&training.weights.parameters, 0, &parameters)?;
    let state = OptimizerState {
        update: training.optimizer.update(),
        parameters: training.optimizer.len(),
        values: tensor(&checkpoint.optimizer.tensors, "state")?.to_vec(),
    };
    let optimizer = &training.optimizer;
    optimizer.restore(device, &training.weights.optimizer, &state)?;
    training.standing = checkpoint.section("standing")?;
    training.schedule = checkpoint.section("schedule")?;
    training.stopping = checkpoint.section("stopping")?;
    Ok(())
}

/// The flat parameters of a checkpoint of this model and this encoder.
pub(crate) fn parameters(
    checkpoint: &Checkpoint,
    model: &Model,
    encoder: &Encoder,
) -> Result<Vec<f32>> {
    checkpoint.expect_config(&model.config)?;
    checkpoint.expect_vocabulary(EVENT, &encoder.vocabulary)?;
    if checkpoint.scaler(SCALARS)? != &encoder.scaler {
        return Err(Error::Checkpoint(
            "its scaler was fitted to other tickets: give the same --tickets and --seed".to_owned(),
        ));
    }
    let mut parameters = tensor(&checkpoint.parameters, "embedding.weight")?.to_vec();
    let rnn = checkpoint.parameters.network("rnn.", &model.config)?;
    parameters.extend(rnn.data());
    parameters.extend(tensor(&checkpoint.parameters, "head.weight")?);
    parameters.extend(tensor(&checkpoint.parameters, "head.bias")?);
    match parameters.len() == model.len() {
        true => Ok(parameters),
        false => Err(Error::Checkpoint(format!(
            "expected {} parameters, got {}",
            model.len(),
            parameters.len()
        ))),
    }
}

/// The flat parameters by name.
fn tensors(model: &Model, parameters: &[f32]) -> Result<Tensors> {
    let (embedding, rest) = parameters.split_at(model.rnn_at());
    let (rnn, head) = rest.split_at(model.head_at() - model.rnn_at());
    let (weight, bias) = head.split_at(model.head.inputs());
    let layout = ParameterLayout::new(&model.config)?.into();
    let mut tensors = Tensors::default();
    let entries = embedding.len() / model.embedding_width();
    let shape = vec![entries, model.embedding_width()];
    tensors.insert("embedding.weight", shape, embedding.to_vec())?;
    tensors.insert_network("rnn.", &Parameters::from_flat(layout, rnn.to_vec())?)?;
    tensors.insert("head.weight", vec![1, weight.len()], weight.to_vec())?;
    tensors.insert("head.bias", vec![bias.len()], bias.to_vec())?;
    Ok(tensors)
}

fn tensor<'a>(tensors: &'a Tensors, name: &str) -> Result<&'a [f32]> {
    let missing = || Error::Checkpoint(format!("tensor `{name}` is missing"));
    Ok(tensors.get(name).ok_or_else(missing)?.data())
}
