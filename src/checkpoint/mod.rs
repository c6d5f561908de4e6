//! One file with everything that a trained model needs, to be used and to be trained on: what model it is, parameters,
//! optimizer, position in the data, vocabularies, scalers, and a [`ModelCard`].
//!
//! The file is a safetensors file: other programs read its tensors, under `parameters.NAME` and `optimizer.NAME`. The rest is
//! JSON in its metadata entry `wgpu_rnn`, with a format version, the list of tensors and a checksum of it all. Numbers come
//! back bit for bit, and equal checkpoints are equal bytes.
//!
//! **Writing is atomic.** The bytes go to a temporary file in the same directory, which is synced and renamed, and then the
//! directory is synced: kill the process or cut the power at any moment, and there is the previous checkpoint or the new
//! one, whole.
//!
//! **Reading is all or nothing.** A file that is cut off, changed, of another version, or that holds what cannot be (a NaN, a
//! scale of 0, a vocabulary with a name twice, a configuration that could not be built) is an error that says so.
//!
//! ```
//! use wgpu_rnn::checkpoint::Checkpoint;
//! use wgpu_rnn::data::{Scaler, Scaling, Vocabulary};
//! use wgpu_rnn::{Parameters, RnnConfig};
//!
//! let config = RnnConfig::gru(3, 8).build()?;
//! let mut checkpoint = Checkpoint::new();
//! checkpoint.networks.insert("rnn".into(), config.clone());
//! checkpoint.parameters.insert_network("rnn.", &Parameters::uniform(&config, 1)?)?;
//! checkpoint.parameters.insert("head.bias", vec![1], vec![-3.4])?;
//! checkpoint.vocabularies.insert("event".into(), Vocabulary::build(["reply", "timer"], 1)?);
//! checkpoint.scalers.insert("hours".into(), Scaler::fit(Scaling::Robust, 1, [&[0.5, 2.0, 48.0][..]])?);
//! checkpoint.position.epoch = 3;
//! checkpoint.card.task = "escalation within 4 hours".into();
//! checkpoint.card.metrics.insert("AUC".into(), 0.91);
//!
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("best.safetensors");
//! checkpoint.save(&path)?; // and best.md, the card
//!
//! let read = Checkpoint::load(&path)?;
//! assert_eq!(read, checkpoint);
//! read.expect_network("rnn", &config)?;
//! let weights = read.parameters.network("rnn.", &config)?;
//! # assert_eq!(weights, Parameters::uniform(&config, 1)?);
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```

mod atomic;
mod card;
mod differences;
mod file;
mod tensors;

pub use atomic::write_atomically;
pub use card::ModelCard;
pub(crate) use differences::check_same;
pub use tensors::{Tensor, Tensors};

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::RnnConfig;
use crate::data::{Scaler, Vocabulary};
use crate::error::{Error, Result};

/// The format's version that this crate writes, and the latest that it reads. It reads all before: a file of version 1 has one
/// network, which comes back as [`NETWORK`].
pub const VERSION: u64 = 2;

/// The name of a network that has none.
pub const NETWORK: &str = "network";

/// Everything that a trained model needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// What recurrent networks, by the names of their layers.
    pub networks: BTreeMap<String, RnnConfig>,
    /// What model: its [description](crate::model::Model::description); empty for weights that belong to none.
    pub model: Vec<String>,
    /// The model's tensors, by name; networks' under a prefix of their own.
    pub parameters: Tensors,
    /// What the optimizer remembers.
    pub optimizer: OptimizerState,
    /// Where training stands, and with it every random number: they are functions of the seed and of what they are for.
    pub position: Position,
    /// Any other counts, such as skipped steps.
    pub counters: BTreeMap<String, u64>,
    /// By the feature they number.
    pub vocabularies: BTreeMap<String, Vocabulary>,
    /// By the features they scale.
    pub scalers: BTreeMap<String, Scaler>,
    /// What the model is, for people.
    pub card: ModelCard,
    /// See [`set_section`](Self::set_section).
    sections: BTreeMap<String, Value>,
}

/// What an optimizer remembers between steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimizerState {
    /// Which optimizer, such as `adam`; empty for none.
    pub kind: String,
    /// Its counts, such as steps taken.
    pub counters: BTreeMap<String, u64>,
    /// Its tensors, such as moments.
    pub tensors: Tensors,
}

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Of the data's order, of dropout and of the initial parameters.
    pub seed: u64,
    /// Whole epochs behind it.
    pub epoch: u64,
    /// Batches of the current epoch behind it.
    pub batch: u64,
    /// Optimizer steps behind it.
    pub step: u64,
}

impl Checkpoint {
    /// A checkpoint with nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps what has no field of its own, such as a schedule's or early stopping's state, under `name`. Numbers have to be
    /// finite: use an `Option` where there is none yet.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if JSON cannot hold the value and give it back.
    pub fn set_section<T>(&mut self, name: &str, value: &T) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        let refuse = |error: serde_json::Error| {
            Error::Checkpoint(format!("section `{name}` cannot be kept as JSON: {error}"))
        };
        let value = serde_json::to_value(value).map_err(refuse)?;
        T::deserialize(&value).map_err(refuse)?;
        self.sections.insert(name.to_owned(), value);
        Ok(())
    }

    /// What is kept under `name`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is no such section, or it holds something else.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = find("section", &self.sections, name)?;
        T::deserialize(value)
            .map_err(|error| Error::Checkpoint(format!("section `{name}`: {error}")))
    }

    /// Names of the sections.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// The vocabulary of a feature.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is none, with the names of those there are.
    pub fn vocabulary(&self, name: &str) -> Result<&Vocabulary> {
        find("vocabulary", &self.vocabularies, name)
    }

    /// The scaler of features.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is none, with the names of those there are.
    pub fn scaler(&self, name: &str) -> Result<&Scaler> {
        find("scaler", &self.scalers, name)
    }

    /// The network of a name.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is none, with the names of those there are.
    pub fn network(&self, name: &str) -> Result<&RnnConfig> {
        find("network", &self.networks, name)
    }

    /// Refuses a checkpoint whose network of this name is another one than `config`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names the first option that differs.
    pub fn expect_network(&self, name: &str, config: &RnnConfig) -> Result<()> {
        check_same("configuration", config, self.network(name)?)
    }

    /// Refuses a checkpoint of another model.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] shows the first layer that differs.
    pub fn expect_model(&self, description: &[String]) -> Result<()> {
        let count = description.len().max(self.model.len());
        let line = |lines: &[String], at: usize| {
            lines
                .get(at)
                .map_or("no further layer".to_owned(), Clone::clone)
        };
        let mut pairs = (0..count).map(|at| (line(description, at), line(&self.model, at)));
        match pairs.find(|(expected, got)| expected != got) {
            Some((expected, got)) => Err(Error::Checkpoint(format!(
                "layer of the model: expected {expected}, got {got}"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses a checkpoint whose vocabulary of a feature has other names or numbers than `vocabulary`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it has none; [`Error::Data`] names the first number whose names differ.
    pub fn expect_vocabulary(&self, name: &str, vocabulary: &Vocabulary) -> Result<()> {
        vocabulary.check_same(self.vocabulary(name)?)
    }

    /// Refuses the state of another optimizer than `kind`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names both.
    pub fn expect_optimizer(&self, kind: &str) -> Result<()> {
        match self.optimizer.kind == kind {
            true => Ok(()),
            false => Err(Error::Checkpoint(format!(
                "optimizer state: expected one of `{kind}`, got one of `{}`",
                self.optimizer.kind
            ))),
        }
    }

    /// Writes the checkpoint to `path` and the model card as Markdown beside it (`best.safetensors`, `best.md`), each
    /// atomically.
    ///
    /// # Errors
    /// [`Error::Data`] if a tensor or a metric is not finite: a model that diverged does not replace one that did not;
    /// [`Error::File`] if a file cannot be written; [`Error::Option`] if `path` is the card's. The file that could not be
    /// written is then as it was.
    pub fn save(&self, path: &Path) -> Result<()> {
        let card = path.with_extension("md");
        if card == path {
            return Err(Error::option(
                "path",
                format!("`{}` is where the model card goes", path.display()),
            ));
        }
        write_atomically(path, &self.to_bytes()?)?;
        write_atomically(&card, self.card.to_markdown().as_bytes())
    }

    /// Reads a checkpoint, all of it or nothing.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read; [`Error::Checkpoint`] says what is wrong with it.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, "read", &error))?;
        Self::from_bytes(&bytes).map_err(|error| match error {
            Error::Checkpoint(reason) => {
                Error::Checkpoint(format!("`{}`: {reason}", path.display()))
            }
            other => other,
        })
    }
}

/// What `name` stands for, or an error with the names there are.
fn find<'a, T>(what: &str, among: &'a BTreeMap<String, T>, name: &str) -> Result<&'a T> {
    among.get(name).ok_or_else(|| {
        let names: Vec<&str> = among.keys().map(String::as_str).collect();
        Error::Checkpoint(format!(
            "{what} `{name}` is missing, there is {}",
            crate::params::listed(&names)
        ))
    })
}
