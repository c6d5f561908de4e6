//! Names as numbers.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;

/// The names that the training part has, numbered; every other name is the unknown one, number 0.
///
/// Frequent names come first, equally frequent ones in the order of their bytes, so the same names give the same numbers.
/// It is saved with the model whose embedding has its rows ([`serde`]); what comes back is checked, the fingerprint too.
///
/// ```
/// use wgpu_rnn::data::Vocabulary;
///
/// let vocabulary = Vocabulary::build(["reply", "timer", "reply", "typo"], 1)?;
/// assert_eq!(vocabulary.encode("reply"), 1);
/// assert_eq!(vocabulary.encode("webhook"), Vocabulary::UNKNOWN);
/// assert_eq!(vocabulary.decode(2), Some("timer"));
/// assert_eq!(vocabulary.unknown_rate(["reply", "webhook"])?, 0.5);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Vocabulary {
    /// By number; the first is the unknown one.
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    minimum_count: u64,
}

/// A vocabulary as a file has it, not yet believed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// From number 1 on.
    names: Vec<String>,
    minimum_count: u64,
    fingerprint: String,
}

impl From<Vocabulary> for Fields {
    fn from(vocabulary: Vocabulary) -> Self {
        Self {
            fingerprint: vocabulary.fingerprint(),
            names: vocabulary.names[1..].to_vec(),
            minimum_count: vocabulary.minimum_count,
        }
    }
}

impl TryFrom<Fields> for Vocabulary {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        let mut seen = HashSet::from([Self::UNKNOWN_NAME]);
        if let Some(twice) = fields.names.iter().find(|name| !seen.insert(name)) {
            return Err(Error::data(
                "vocabulary",
                "each name once",
                format!("`{twice}` again"),
            ));
        }
        let vocabulary = Self::numbered(fields.names, fields.minimum_count)?;
        let fingerprint = vocabulary.fingerprint();
        match fingerprint == fields.fingerprint {
            true => Ok(vocabulary),
            false => Err(Error::data(
                "vocabulary",
                format!("names of fingerprint {}", fields.fingerprint),
                format!("names of {fingerprint}"),
            )),
        }
    }
}

impl Vocabulary {
    /// The number of every name that the vocabulary does not have.
    pub const UNKNOWN: u32 = 0;

    /// What [`decode`](Self::decode) calls number 0. A name spelled so is unknown too.
    pub const UNKNOWN_NAME: &'static str = "<unknown>";

    /// Numbers the names that occur at least `minimum_count` times in `training`. Hand it the training part and nothing
    /// else: a name that only the hold-out has is unknown, as it will be in use.
    ///
    /// With a minimum count above 1 rare names train the unknown entry's embedding; else nothing does.
    ///
    /// # Errors
    /// [`Error::Option`] if `minimum_count` is 0; [`Error::Data`] if there is no name; [`Error::Overflow`] if there are
    /// too many.
    pub fn build<S: AsRef<str>>(
        training: impl IntoIterator<Item = S>,
        minimum_count: u64,
    ) -> Result<Self> {
        if minimum_count == 0 {
            return Err(Error::option("minimum_count", "must be at least 1, got 0"));
        }
        let mut counts: HashMap<String, u64> = HashMap::new();
        for name in training {
            match counts.get_mut(name.as_ref()) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(name.as_ref().to_owned(), 1);
                }
            }
        }
        if counts.is_empty() {
            return Err(Error::data("training part", "at least one name", "none"));
        }
        counts.remove(Self::UNKNOWN_NAME);
        let mut frequent: Vec<(String, u64)> = counts
            .into_iter()
            .filter(|&(_, count)| count >= minimum_count)
            .collect();
        frequent.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let names = frequent.into_iter().map(|(name, _)| name).collect();
        Self::numbered(names, minimum_count)
    }

    /// Numbers distinct `names` from 1 on.
    fn numbered(mut names: Vec<String>, minimum_count: u64) -> Result<Self> {
        if u32::try_from(names.len()).is_err() {
            return Err(Error::Overflow {
                what: "vocabulary",
                detail: format!("{} names", names.len()),
            });
        }
        names.insert(0, Self::UNKNOWN_NAME.to_owned());
        let numbers = names.iter().cloned().zip(0..).collect();
        Ok(Self {
            names,
            numbers,
            minimum_count,
        })
    }

    /// Number of entries, the unknown one included: the rows of an embedding.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no entry; never so.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names by number, the unknown one first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How often a name had to occur.
    pub fn minimum_count(&self) -> u64 {
        self.minimum_count
    }

    /// The number of `name`, or [`UNKNOWN`](Self::UNKNOWN).
    pub fn encode(&self, name: &str) -> u32 {
        self.numbers.get(name).copied().unwrap_or(Self::UNKNOWN)
    }

    /// The name of `number`, if it has one.
    pub fn decode(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(String::as_str)
    }

    /// The share of `names` that the vocabulary does not have: a sign of drift where it rises.
    ///
    /// # Errors
    /// [`Error::Data`] if there are no names.
    pub fn unknown_rate<S: AsRef<str>>(&self, names: impl IntoIterator<Item = S>) -> Result<f64> {
        let (mut unknown, mut count) = (0u64, 0u64);
        for name in names {
            count += 1;
            unknown += u64::from(self.encode(name.as_ref()) == Self::UNKNOWN);
        }
        match count {
            0 => Err(Error::data("unknown rate", "at least one name", "none")),
            _ => Ok(unknown as f64 / count as f64),
        }
    }

    /// 16 hexadecimal digits that tell vocabularies apart: FNV-1a over the names in order, each after its length.
    pub fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::default();
        for name in &self.names {
            fingerprint.add(&(name.len() as u64).to_le_bytes());
            fingerprint.add(name.as_bytes());
        }
        fingerprint.to_string()
    }

    /// Refuses a vocabulary with other names or numbers, such as another checkpoint's.
    ///
    /// # Errors
    /// [`Error::Data`] names the first number whose names differ.
    pub fn check_same(&self, other: &Self) -> Result<()> {
        let count = self.len().max(other.len());
        let differs = |&number: &usize| self.names.get(number) != other.names.get(number);
        let Some(number) = (0..count).find(differs) else {
            return Ok(());
        };
        let describe = |vocabulary: &Self| {
            let fingerprint = vocabulary.fingerprint();
            match vocabulary.names.get(number) {
                Some(name) => format!("{fingerprint}, where number {number} is `{name}`"),
                None => format!("{fingerprint}, which has no number {number}"),
            }
        };
        Err(Error::data("vocabulary", describe(self), describe(other)))
    }
}
