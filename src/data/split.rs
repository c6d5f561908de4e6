//! Who trains, who validates and who is held out, without leakage.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::order::uniform_of;
use crate::error::{Error, Result};

/// All that one sample has seen of the world: from its first input to the end of what its label speaks of.
///
/// A sample that predicts escalation within the next 4 hours ends 4 hours after its last event, not at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Whom it is about: a ticket's, customer's or machine's number.
    pub entity: u64,
    /// Its beginning, in any unit of time, such as seconds since 1970.
    pub start: i64,
    /// Its end, excluded, in the same unit.
    pub end: i64,
}

/// Where time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeCuts {
    /// Windows that begin at this time or later validate; `None`: no validation part.
    pub validation_from: Option<i64>,
    /// Windows that begin at this time or later are held out.
    pub hold_out_from: i64,
    /// What becomes of windows that begin before a cut and end after it.
    pub crossing: Crossing,
}

/// What becomes of windows that begin before a cut and end after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Crossing {
    /// They stay in the earlier part: an error if they overlap with a window of a later one.
    #[default]
    Refuse,
    /// They are left out of all parts ("purged", López de Prado 2018).
    Drop,
}

/// Shares of the entities; the rest trains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntityShares {
    /// Share that validates; 0 for no validation part.
    pub validation: f64,
    /// Share that is held out.
    pub hold_out: f64,
    /// Of the drawing.
    pub seed: u64,
}

/// What counts as leakage from one part into a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A window that ends after one of a later part has begun, whomever they are about: what the model learns from must
    /// all be over before what it is judged on begins, as it is in use.
    Time,
    /// The same entity in two parts.
    Entity,
}

/// Windows in parts, checked against leakage. Parts are indices, ascending.
///
/// ```
/// use wgpu_rnn::data::{Crossing, Split, TimeCuts, Window};
///
/// let windows: Vec<Window> = (0..100).map(|day| Window { entity: day, start: day as i64, end: day as i64 + 3 }).collect();
/// let cuts = TimeCuts { validation_from: Some(60), hold_out_from: 80, crossing: Crossing::Drop };
/// let split = Split::by_time(&windows, cuts)?;
/// assert_eq!(split.training().len(), 58);
/// assert_eq!(split.hold_out_report().start, 80);
///
/// // Windows of 3 days that begin every day overlap across a cut.
/// let error = Split::by_time(&windows, TimeCuts { crossing: Crossing::Refuse, ..cuts }).unwrap_err();
/// assert!(error.to_string().contains("window 58"));
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    training: Vec<usize>,
    validation: Vec<usize>,
    hold_out: Vec<usize>,
    dropped: usize,
    report: HoldOut,
}

/// What the hold-out part is, for a report or a model card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldOut {
    /// By what it was parted from training.
    pub rule: Rule,
    /// Windows in it.
    pub windows: usize,
    /// Different entities in it.
    pub entities: usize,
    /// Of those, how many train or validate as well (earlier in time).
    pub known_entities: usize,
    /// When its first window begins.
    pub start: i64,
    /// When its last window ends.
    pub end: i64,
    /// Windows that train.
    pub training_windows: usize,
    /// When the first window that trains begins.
    pub training_start: i64,
    /// When the last window that trains ends.
    pub training_end: i64,
    /// Windows that validate.
    pub validation_windows: usize,
    /// Windows left out because they cross a cut.
    pub dropped_windows: usize,
}

/// The three parts, on their way into a [`Split`].
#[derive(Default)]
struct Parts {
    training: Vec<usize>,
    validation: Vec<usize>,
    hold_out: Vec<usize>,
    dropped: usize,
}

impl Split {
    /// Parts windows by when they begin, and refuses leakage by [`Rule::Time`].
    ///
    /// # Errors
    /// [`Error::Data`] names a window that ends before it begins, the first pair of windows that overlap across a cut, or
    /// a part that is empty; [`Error::Option`] if validation is to begin after the hold-out.
    pub fn by_time(windows: &[Window], cuts: TimeCuts) -> Result<Self> {
        let validation_from = cuts.validation_from.unwrap_or(cuts.hold_out_from);
        if validation_from > cuts.hold_out_from {
            return Err(Error::option(
                "validation_from",
                format!(
                    "at most `hold_out_from` ({}), got {validation_from}",
                    cuts.hold_out_from
                ),
            ));
        }
        let mut parts = Parts::default();
        for (index, window) in windows.iter().enumerate() {
            let (part, cut) = if window.start >= cuts.hold_out_from {
                (&mut parts.hold_out, i64::MAX)
            } else if window.start >= validation_from {
                (&mut parts.validation, cuts.hold_out_from)
            } else {
                (&mut parts.training, validation_from)
            };
            match cuts.crossing {
                Crossing::Drop if window.end > cut => parts.dropped += 1,
                _ => part.push(index),
            }
        }
        parts.check(windows, Rule::Time, cuts.validation_from.is_some())
    }

    /// Parts entities at random: all windows of one are in the same part, and stay there when other entities come or go.
    /// Refuses leakage by [`Rule::Entity`]. Use it where entities are strangers to each other and time does not matter.
    ///
    /// # Errors
    /// [`Error::Option`] if a share is not in [0, 1) or nothing is left to train; [`Error::Data`] names a part that is
    /// empty, or a window that ends before it begins.
    pub fn by_entity(windows: &[Window], shares: EntityShares) -> Result<Self> {
        let (validation, hold_out) = (shares.validation, shares.hold_out);
        for (option, share) in [("validation", validation), ("hold_out", hold_out)] {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::option(
                    option,
                    format!("a share in [0, 1), got {share}"),
                ));
            }
        }
        if validation + hold_out >= 1.0 {
            return Err(Error::option(
                "hold_out",
                format!("with `validation` below 1, got {hold_out} and {validation}"),
            ));
        }
        let mut parts = Parts::default();
        for (index, window) in windows.iter().enumerate() {
            let number = uniform_of(shares.seed, window.entity);
            let part = if number < hold_out {
                &mut parts.hold_out
            } else if number < hold_out + validation {
                &mut parts.validation
            } else {
                &mut parts.training
            };
            part.push(index);
        }
        parts.check(windows, Rule::Entity, validation > 0.0)
    }

    /// Takes parts made elsewhere, as indices of `windows`, and refuses leakage by `rule`. Validation may be empty.
    ///
    /// # Errors
    /// [`Error::Data`] names an index that is no window or comes twice, the first pair of windows that leaks, a part that
    /// is empty, or a window that ends before it begins.
    pub fn from_parts(
        windows: &[Window],
        [training, validation, hold_out]: [&[usize]; 3],
        rule: Rule,
    ) -> Result<Self> {
        let mut seen = vec![false; windows.len()];
        for &index in training.iter().chain(validation).chain(hold_out) {
            let what = || "parts of a split".to_owned();
            match seen.get_mut(index) {
                None => {
                    let expected = format!("indices of {} windows", windows.len());
                    return Err(Error::data(what(), expected, index));
                }
                Some(true) => {
                    let got = format!("window {index} twice");
                    return Err(Error::data(what(), "each window once", got));
                }
                Some(first) => *first = true,
            }
        }
        let sorted = |part: &[usize]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part
        };
        let parts = Parts {
            training: sorted(training),
            validation: sorted(validation),
            hold_out: sorted(hold_out),
            dropped: 0,
        };
        parts.check(windows, rule, false)
    }

    /// Windows that train.
    pub fn training(&self) -> &[usize] {
        &self.training
    }

    /// Windows that validate: for early stopping and thresholds.
    pub fn validation(&self) -> &[usize] {
        &self.validation
    }

    /// Windows that are held out: for the last judgement only.
    pub fn hold_out(&self) -> &[usize] {
        &self.hold_out
    }

    /// Number of windows left out because they cross a cut.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// What the hold-out part is.
    pub fn hold_out_report(&self) -> &HoldOut {
        &self.report
    }
}

impl Parts {
    fn check(self, windows: &[Window], rule: Rule, with_validation: bool) -> Result<Split> {
        if let Some(index) = windows.iter().position(|window| window.end < window.start) {
            let Window { start, end, .. } = windows[index];
            return Err(Error::data(
                format!("window {index}"),
                format!("an end not before its start {start}"),
                end,
            ));
        }
        for (name, part, needed) in [
            ("training", &self.training, true),
            ("validation", &self.validation, with_validation),
            ("hold-out", &self.hold_out, true),
        ] {
            if needed && part.is_empty() {
                return Err(Error::data(
                    format!("{name} part of {} windows", windows.len()),
                    "at least one window",
                    "none",
                ));
            }
        }
        let training = ("training", self.training.as_slice());
        let validation = ("validation", self.validation.as_slice());
        let hold_out = ("hold-out", self.hold_out.as_slice());
        for (earlier, later) in [
            (training, validation),
            (training, hold_out),
            (validation, hold_out),
        ] {
            check_leakage(windows, rule, earlier, later)?;
        }
        let report = self.report(windows, rule);
        Ok(Split {
            training: self.training,
            validation: self.validation,
            hold_out: self.hold_out,
            dropped: self.dropped,
            report,
        })
    }

    /// Of parts that are not empty.
    fn report(&self, windows: &[Window], rule: Rule) -> HoldOut {
        let of = |part: &[usize]| -> (BTreeSet<u64>, i64, i64) {
            let windows = part.iter().map(|&index| windows[index]);
            (
                windows.clone().map(|window| window.entity).collect(),
                windows
                    .clone()
                    .map(|window| window.start)
                    .min()
                    .unwrap_or(0),
                windows.map(|window| window.end).max().unwrap_or(0),
            )
        };
        let (entities, start, end) = of(&self.hold_out);
        let (known, training_start, training_end) = of(&self.training);
        let (also_known, ..) = of(&self.validation);
        let is_known = |entity: &&u64| known.contains(entity) || also_known.contains(entity);
        HoldOut {
            rule,
            windows: self.hold_out.len(),
            entities: entities.len(),
            known_entities: entities.iter().filter(is_known).count(),
            start,
            end,
            training_windows: self.training.len(),
            training_start,
            training_end,
            validation_windows: self.validation.len(),
            dropped_windows: self.dropped,
        }
    }
}

/// Refuses the first window of the earlier part that leaks into the later one, with the first one there that it meets.
fn check_leakage(
    windows: &[Window],
    rule: Rule,
    (earlier_name, earlier): (&str, &[usize]),
    (later_name, later): (&str, &[usize]),
) -> Result<()> {
    let first_start = later.iter().map(|&index| windows[index].start).min();
    let mut first_of: HashMap<u64, usize> = HashMap::new();
    for &index in later {
        first_of.entry(windows[index].entity).or_insert(index);
    }
    let leaks_to = |&index: &usize| match rule {
        Rule::Entity => first_of.get(&windows[index].entity).copied(),
        Rule::Time if first_start.is_none_or(|start| windows[index].end <= start) => None,
        Rule::Time => {
            let end = windows[index].end;
            later
                .iter()
                .copied()
                .find(|&other| windows[other].start < end)
        }
    };
    let Some((index, other)) = earlier
        .iter()
        .find_map(|index| Some((*index, leaks_to(index)?)))
    else {
        return Ok(());
    };
    let describe = |index: usize| {
        let Window { entity, start, end } = windows[index];
        format!("window {index} (entity {entity}, {start} to {end})")
    };
    let expected = match rule {
        Rule::Time => format!("{earlier_name} windows that end before {later_name} begins"),
        Rule::Entity => format!("{earlier_name} and {later_name} windows of different entities"),
    };
    Err(Error::data(
        "split with leakage",
        expected,
        format!(
            "{earlier_name} {} and {later_name} {}",
            describe(index),
            describe(other)
        ),
    ))
}

impl std::fmt::Display for HoldOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = match self.rule {
            Rule::Time => "time",
            Rule::Entity => "entity",
        };
        write!(
            f,
            "held out by {rule}: {} windows of {} entities ({} of them known) from {} to {}; trained on {} windows from \
             {} to {}, validated on {}, {} left out",
            self.windows,
            self.entities,
            self.known_entities,
            self.start,
            self.end,
            self.training_windows,
            self.training_start,
            self.training_end,
            self.validation_windows,
            self.dropped_windows
        )
    }
}
