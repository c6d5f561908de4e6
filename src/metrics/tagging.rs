//! Tags of tokens, and the entities that they mark.

use std::collections::{BTreeMap, HashSet};

use super::{f1, ratio};
use crate::error::{Error, Result};

/// A run of tokens marked as one thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entity {
    /// What follows `B-` or `I-`.
    pub kind: String,
    /// First token.
    pub start: usize,
    /// One past the last token.
    pub end: usize,
}

/// How much of what is there was found, and how much of what was found is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Found and there.
    pub hits: u64,
    /// Found.
    pub predicted: u64,
    /// There.
    pub actual: u64,
}

impl Agreement {
    /// Of what was found, the share that is there; 0 where nothing was found.
    pub fn precision(&self) -> f64 {
        ratio(self.hits, self.predicted)
    }

    /// Of what is there, the share that was found; 0 where nothing is there.
    pub fn recall(&self) -> f64 {
        ratio(self.hits, self.actual)
    }

    /// The harmonic mean of precision and recall; 0 where there is nothing.
    pub fn f1(&self) -> f64 {
        f1(self.hits, self.predicted, self.actual)
    }
}

/// Predicted tags against actual ones, token by token and entity by entity, with seqeval's (and conlleval's) reading of
/// BIO: see [`entities`].
///
/// ```
/// use wgpu_rnn::metrics::TagScores;
///
/// let actual = [vec!["B-PER", "I-PER", "O", "B-LOC"]];
/// let predicted = [vec!["B-PER", "O", "O", "B-LOC"]];
/// let scores = TagScores::new(&actual, &predicted)?;
/// assert_eq!(scores.entities().f1(), 0.5);
/// assert_eq!(scores.accuracy(), 0.75);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagScores {
    tokens: u64,
    right: u64,
    inside: Agreement,
    kinds: BTreeMap<String, Agreement>,
}

impl TagScores {
    /// Compares sequences of tags `O`, `B-KIND` and `I-KIND`.
    ///
    /// # Errors
    /// [`Error::Shape`] if sequences differ in number or length; [`Error::Data`] if there is no token or a tag is not
    /// BIO.
    pub fn new<S: AsRef<str>>(actual: &[Vec<S>], predicted: &[Vec<S>]) -> Result<Self> {
        if actual.len() != predicted.len() {
            return Err(Error::shape(
                "predicted tag sequences",
                actual.len(),
                predicted.len(),
            ));
        }
        let mut scores = Self {
            tokens: 0,
            right: 0,
            inside: Agreement::default(),
            kinds: BTreeMap::new(),
        };
        for (index, (actual, predicted)) in actual.iter().zip(predicted).enumerate() {
            if actual.len() != predicted.len() {
                return Err(Error::shape(
                    format!("predicted tags of sequence {index}"),
                    actual.len(),
                    predicted.len(),
                ));
            }
            scores.add(index, actual, predicted)?;
        }
        match scores.tokens {
            0 => Err(Error::data("tags", "at least one token", "none")),
            _ => Ok(scores),
        }
    }

    fn add<S: AsRef<str>>(&mut self, index: usize, actual: &[S], predicted: &[S]) -> Result<()> {
        for (a, p) in actual.iter().zip(predicted) {
            let (a, p) = (a.as_ref(), p.as_ref());
            self.tokens += 1;
            self.right += u64::from(a == p);
            self.inside.hits += u64::from(a == p && a != OUTSIDE);
            self.inside.actual += u64::from(a != OUTSIDE);
            self.inside.predicted += u64::from(p != OUTSIDE);
        }
        let in_sequence = |error| match error {
            Error::Data {
                what,
                expected,
                got,
            } => Error::data(format!("sequence {index}, {what}"), expected, got),
            other => other,
        };
        let actual = entities(actual).map_err(in_sequence)?;
        let predicted = entities(predicted).map_err(in_sequence)?;
        let found: HashSet<&Entity> = predicted.iter().collect();
        for entity in &actual {
            let kind = self.kinds.entry(entity.kind.clone()).or_default();
            kind.actual += 1;
            kind.hits += u64::from(found.contains(entity));
        }
        for entity in &predicted {
            self.kinds.entry(entity.kind.clone()).or_default().predicted += 1;
        }
        Ok(())
    }

    /// Share of tokens with the right tag, `O` included.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right, self.tokens)
    }

    /// Tokens tagged other than `O`; a hit has the same tag. Its F1 is the micro average over all tags but `O`.
    pub fn tokens(&self) -> Agreement {
        self.inside
    }

    /// Entities; a hit has the same kind and the same bounds. Its F1 is seqeval's micro average.
    pub fn entities(&self) -> Agreement {
        self.kinds
            .values()
            .fold(Agreement::default(), |sum, kind| Agreement {
                hits: sum.hits + kind.hits,
                predicted: sum.predicted + kind.predicted,
                actual: sum.actual + kind.actual,
            })
    }

    /// Entities of each kind that occurs, by name.
    pub fn kinds(&self) -> &BTreeMap<String, Agreement> {
        &self.kinds
    }

    /// Mean entity F1 of the kinds that occur among actual or predicted entities; 0 where none does.
    pub fn macro_f1(&self) -> f64 {
        let sum: f64 = self.kinds.values().map(Agreement::f1).sum();
        sum / self.kinds.len().max(1) as f64
    }
}

const OUTSIDE: &str = "O";

/// The entities that `tags` mark. One begins at `B-KIND`, and at an `I-KIND` that follows `O`, another kind or nothing;
/// it ends before the next begin, before `O` and at the end.
///
/// # Errors
/// [`Error::Data`] names the first tag that is not `O`, `B-KIND` or `I-KIND`.
pub fn entities<S: AsRef<str>>(tags: &[S]) -> Result<Vec<Entity>> {
    let mut entities: Vec<Entity> = Vec::new();
    for (token, tag) in tags.iter().enumerate() {
        let Some((begins, kind)) = parse(tag.as_ref()).map_err(|got| {
            Error::data(
                format!("tag of token {token}"),
                "`O`, `B-KIND` or `I-KIND`",
                format!("`{got}`"),
            )
        })?
        else {
            continue;
        };
        match entities.last_mut() {
            Some(entity) if !begins && entity.end == token && entity.kind == kind => {
                entity.end += 1;
            }
            _ => entities.push(Entity {
                kind: kind.to_owned(),
                start: token,
                end: token + 1,
            }),
        }
    }
    Ok(entities)
}

/// Whether the tag begins an entity, and its kind; nothing for `O`; an unreadable tag as the error.
fn parse(tag: &str) -> Result<Option<(bool, &str)>, &str> {
    let begin = tag.strip_prefix("B-").map(|kind| (true, kind));
    match begin.or_else(|| tag.strip_prefix("I-").map(|kind| (false, kind))) {
        Some((begins, kind)) if !kind.is_empty() => Ok(Some((begins, kind))),
        None if tag == OUTSIDE => Ok(None),
        _ => Err(tag),
    }
}
