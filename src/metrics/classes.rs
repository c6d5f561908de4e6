//! One class of several.

use super::{check_lengths, f1, ratio};
use crate::error::{Error, Result, check_finite, checked_product};

/// How often each class was taken for each other one.
///
/// ```
/// use wgpu_rnn::metrics::{ConfusionMatrix, argmax};
///
/// let predicted = argmax(&[0.1, 0.9, 0.8, 0.2, 0.7, 0.3], 2)?;
/// let matrix = ConfusionMatrix::new(2, &[1, 0, 1], &predicted)?;
/// assert_eq!(matrix.count(1, 0), 1);
/// assert_eq!(matrix.accuracy(), 2.0 / 3.0);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[label, predicted]`
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Counts `labels` against `predicted`, both `[samples]` of classes from 0 to `classes - 1`.
    ///
    /// # Errors
    /// [`Error::Shape`] if lengths differ; [`Error::Data`] if there are none or a class is out of range;
    /// [`Error::Overflow`] or [`Error::OutOfMemory`] if the matrix does not fit.
    pub fn new(classes: usize, labels: &[u32], predicted: &[u32]) -> Result<Self> {
        check_lengths("predicted classes", labels.len(), predicted.len())?;
        for (what, values) in [("label", labels), ("predicted class", predicted)] {
            if let Some(index) = values.iter().position(|&class| class as usize >= classes) {
                return Err(Error::data(
                    format!("{what} {index}"),
                    format!("a class below {classes}"),
                    values[index],
                ));
            }
        }
        let len = checked_product("confusion matrix", &[classes, classes])?;
        let mut counts = crate::error::with_room("confusion matrix", len)?;
        counts.resize(len, 0);
        for (&label, &predicted) in labels.iter().zip(predicted) {
            counts[label as usize * classes + predicted as usize] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Samples of class `label` that were taken for class `predicted`; 0 for a class out of range.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        match label < self.classes && predicted < self.classes {
            true => self.counts[label * self.classes + predicted],
            false => 0,
        }
    }

    /// The counts, `[label, predicted]`.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    fn hits(&self) -> u64 {
        (0..self.classes)
            .map(|class| self.count(class, class))
            .sum()
    }

    /// Share of samples whose class was found.
    pub fn accuracy(&self) -> f64 {
        ratio(self.hits(), self.counts.iter().sum())
    }

    fn labelled(&self, class: usize) -> u64 {
        (0..self.classes)
            .map(|other| self.count(class, other))
            .sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.classes)
            .map(|other| self.count(other, class))
            .sum()
    }

    /// Of the samples taken for `class`, the share that are; 0 where there are none.
    pub fn precision(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.predicted(class))
    }

    /// Of the samples of `class`, the share that was found; 0 where there are none.
    pub fn recall(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.labelled(class))
    }

    /// F1 of one class against the rest; 0 where it is neither labelled nor predicted.
    pub fn f1(&self, class: usize) -> f64 {
        f1(
            self.count(class, class),
            self.predicted(class),
            self.labelled(class),
        )
    }

    /// Mean F1 of the classes that occur among labels or predictions.
    pub fn macro_f1(&self) -> f64 {
        let scores: Vec<f64> = (0..self.classes)
            .filter(|&class| self.labelled(class) + self.predicted(class) > 0)
            .map(|class| self.f1(class))
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    }

    /// F1 over all classes' hits, misses and false alarms together: where each sample has one class, the accuracy.
    pub fn micro_f1(&self) -> f64 {
        let samples = self.counts.iter().sum();
        f1(self.hits(), samples, samples)
    }
}

/// The class with the highest score of each row of `scores`, `[samples, classes]`; the first one of equals.
///
/// # Errors
/// [`Error::Shape`] if `scores` has no whole number of rows; [`Error::Option`] if `classes` is 0 or above 2^32;
/// [`Error::Data`] if a score is not finite.
pub fn argmax(scores: &[f32], classes: usize) -> Result<Vec<u32>> {
    if classes == 0 || u32::try_from(classes - 1).is_err() {
        return Err(Error::option(
            "classes",
            format!("between 1 and 2^32, got {classes}"),
        ));
    }
    if !scores.len().is_multiple_of(classes) {
        return Err(Error::shape(
            "scores",
            format!("rows of {classes}"),
            format!("{} values", scores.len()),
        ));
    }
    check_finite("score", scores)?;
    let best = |row: &[f32]| {
        let first = (0, row[0]);
        let better = |best: (usize, f32), (class, &score): (usize, &f32)| {
            if score > best.1 { (class, score) } else { best }
        };
        row.iter().enumerate().fold(first, better).0 as u32
    };
    Ok(scores.chunks_exact(classes).map(best).collect())
}
