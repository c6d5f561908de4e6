//! Scores of a yes-or-no question.

use super::{Calibration, check_lengths, f1};
use crate::error::{Error, Result, check_finite};
use crate::metrics::Binning;

/// Labels and scores of a yes-or-no question, checked and sorted once.
///
/// Ranking metrics take any scores, logits too; [`log_loss`](Self::log_loss), [`brier`](Self::brier) and
/// [`calibration`](Self::calibration) need probabilities.
#[derive(Debug, Clone)]
pub struct BinaryScores {
    /// Highest score first.
    sorted: Vec<(f32, bool)>,
    positives: u64,
}

/// A point of the ROC curve: what is called positive from `threshold` on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// Scores at or above it are called positive; infinite at the curve's origin.
    pub threshold: f32,
    /// Negatives called positive, of all negatives.
    pub false_positive_rate: f64,
    /// Positives called positive, of all positives.
    pub true_positive_rate: f64,
}

/// The threshold with the highest F1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestF1 {
    /// Scores at or above it are called positive; the highest one where several are as good.
    pub threshold: f32,
    /// F1 there.
    pub f1: f64,
}

/// What is called positive from one distinct score on.
#[derive(Debug, Clone, Copy)]
struct Cut {
    threshold: f32,
    true_positives: u64,
    false_positives: u64,
}

impl BinaryScores {
    /// Pairs `labels`, each 0 or 1, with `scores`, higher for a more likely 1; both `[samples]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if their lengths differ; [`Error::Data`] if there are none, a label is neither 0 nor 1, or a
    /// score is not finite.
    pub fn new(labels: &[f32], scores: &[f32]) -> Result<Self> {
        check_lengths("scores", labels.len(), scores.len())?;
        check_finite("score", scores)?;
        if let Some(index) = labels
            .iter()
            .position(|&label| label != 0.0 && label != 1.0)
        {
            return Err(Error::data(
                format!("label {index}"),
                "0 or 1",
                labels[index],
            ));
        }
        let mut sorted: Vec<(f32, bool)> = scores
            .iter()
            .zip(labels)
            .map(|(&score, &label)| (score, label == 1.0))
            .collect();
        // Finite scores have an order; the label makes the sums' order independent of the samples'.
        sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let positives = sorted.iter().filter(|(_, label)| *label).count() as u64;
        Ok(Self { sorted, positives })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is no sample; never so.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Samples labelled 1.
    pub fn positives(&self) -> usize {
        self.positives as usize
    }

    fn negatives(&self) -> u64 {
        self.sorted.len() as u64 - self.positives
    }

    /// Cuts between distinct scores, from the highest; samples with equal scores fall together.
    fn cuts(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let (mut true_positives, mut false_positives) = (0, 0);
        for group in self.sorted.chunk_by(|a, b| a.0 == b.0) {
            let positives = group.iter().filter(|(_, label)| *label).count() as u64;
            true_positives += positives;
            false_positives += group.len() as u64 - positives;
            cuts.push(Cut {
                threshold: group[0].0,
                true_positives,
                false_positives,
            });
        }
        cuts
    }

    fn check_both_classes(&self, what: &str) -> Result<()> {
        if self.positives > 0 && self.negatives() > 0 {
            return Ok(());
        }
        Err(Error::data(
            what,
            "labels of both classes",
            format!(
                "{} positives and {} negatives",
                self.positives,
                self.negatives()
            ),
        ))
    }

    /// Area under the ROC curve: the chance that a positive scores above a negative, a tie counting half (Mann and
    /// Whitney 1947). Exact: pairs are counted in integers and divided once.
    ///
    /// # Errors
    /// [`Error::Data`] if all labels are of one class.
    pub fn auc(&self) -> Result<f64> {
        self.check_both_classes("AUC")?;
        let mut half_pairs: u128 = 0;
        let mut before = Cut {
            threshold: f32::INFINITY,
            true_positives: 0,
            false_positives: 0,
        };
        for cut in self.cuts() {
            let positives = cut.true_positives - before.true_positives;
            let tied = cut.false_positives - before.false_positives;
            let below = self.negatives() - cut.false_positives;
            half_pairs += u128::from(positives) * u128::from(2 * below + tied);
            before = cut;
        }
        let pairs = u128::from(self.positives) * u128::from(self.negatives());
        Ok(half_pairs as f64 / (2 * pairs) as f64)
    }

    /// The ROC curve: its origin, then a point for each distinct score, highest first, ending at (1, 1).
    ///
    /// # Errors
    /// [`Error::Data`] if all labels are of one class.
    pub fn roc(&self) -> Result<Vec<RocPoint>> {
        self.check_both_classes("ROC curve")?;
        let origin = Cut {
            threshold: f32::INFINITY,
            true_positives: 0,
            false_positives: 0,
        };
        let point = |cut: Cut| RocPoint {
            threshold: cut.threshold,
            false_positive_rate: cut.false_positives as f64 / self.negatives() as f64,
            true_positive_rate: cut.true_positives as f64 / self.positives as f64,
        };
        Ok(std::iter::once(origin)
            .chain(self.cuts())
            .map(point)
            .collect())
    }

    /// Average precision: precision at each distinct score, weighted by the recall it adds; no interpolation.
    ///
    /// # Errors
    /// [`Error::Data`] if no label is 1.
    pub fn average_precision(&self) -> Result<f64> {
        self.check_positive("average precision")?;
        let (mut sum, mut before) = (0.0, 0);
        for cut in self.cuts() {
            let called = cut.true_positives + cut.false_positives;
            let precision = cut.true_positives as f64 / called as f64;
            sum += (cut.true_positives - before) as f64 * precision;
            before = cut.true_positives;
        }
        Ok(sum / self.positives as f64)
    }

    fn check_positive(&self, what: &str) -> Result<()> {
        match self.positives {
            0 => Err(Error::data(what, "at least one positive label", "none")),
            _ => Ok(()),
        }
    }

    /// F1 if scores at or above `threshold` are called positive; 0 if there is nothing positive, called so or labelled.
    ///
    /// # Errors
    /// [`Error::Data`] if `threshold` is not a number.
    pub fn f1(&self, threshold: f32) -> Result<f64> {
        if threshold.is_nan() {
            return Err(Error::data("threshold", "a number", threshold));
        }
        let called = self
            .sorted
            .partition_point(|&(score, _)| score >= threshold);
        let hits = self.sorted[..called].iter().filter(|(_, l)| *l).count();
        Ok(f1(hits as u64, called as u64, self.positives))
    }

    /// The score that is the best threshold for F1. Choose it on validation data, not on the hold-out.
    ///
    /// # Errors
    /// [`Error::Data`] if no label is 1.
    pub fn best_f1(&self) -> Result<BestF1> {
        self.check_positive("best F1")?;
        let mut best = BestF1 {
            threshold: f32::INFINITY,
            f1: 0.0,
        };
        for cut in self.cuts() {
            let called = cut.true_positives + cut.false_positives;
            let f1 = f1(cut.true_positives, called, self.positives);
            if f1 > best.f1 {
                best = BestF1 {
                    threshold: cut.threshold,
                    f1,
                };
            }
        }
        Ok(best)
    }

    /// Labels and probabilities, checked to be some.
    fn probabilities(&self, what: &str) -> Result<impl Iterator<Item = (f64, bool)> + '_> {
        // Sorted: the first and the last are the extremes.
        for (score, _) in [self.sorted[0], self.sorted[self.sorted.len() - 1]] {
            if !(0.0..=1.0).contains(&score) {
                return Err(Error::data(what, "probabilities in [0, 1]", score));
            }
        }
        Ok(self.sorted.iter().map(|&(p, label)| (f64::from(p), label)))
    }

    /// Mean of `-ln p(label)`, in nats. Probabilities are kept `f32::EPSILON` away from 0 and 1, as scikit-learn does for
    /// 32-bit scores.
    ///
    /// # Errors
    /// [`Error::Data`] if a score is not a probability.
    pub fn log_loss(&self) -> Result<f64> {
        let epsilon = f64::from(f32::EPSILON);
        let sum: f64 = self
            .probabilities("log loss")?
            .map(|(p, label)| {
                let p = p.clamp(epsilon, 1.0 - epsilon);
                if label { -p.ln() } else { -(-p).ln_1p() }
            })
            .sum();
        Ok(sum / self.len() as f64)
    }

    /// Mean of `(p - label)^2` (Brier 1950, for two classes halved as usual).
    ///
    /// # Errors
    /// [`Error::Data`] if a score is not a probability.
    pub fn brier(&self) -> Result<f64> {
        let sum: f64 = self
            .probabilities("Brier score")?
            .map(|(p, label)| (p - f64::from(u8::from(label))).powi(2))
            .sum();
        Ok(sum / self.len() as f64)
    }

    /// Predicted against observed frequency, in `bins` bins.
    ///
    /// # Errors
    /// [`Error::Data`] if a score is not a probability; [`Error::Option`] if `bins` is 0.
    pub fn calibration(&self, bins: usize, binning: Binning) -> Result<Calibration> {
        let mut ascending: Vec<(f64, bool)> = self.probabilities("calibration")?.collect();
        ascending.reverse();
        Calibration::new(&ascending, bins, binning)
    }
}
