//! Losses and their gradients. Each operation writes both in one pass over its predictions.
//!
//! The result is a weighted mean: rows of a batch may have weights, and a row of weight 0 is *masked*: neither the loss nor
//! the gradient depends on what it holds, NaN included. Padding, missing labels and ragged lengths are served this way.
//! Where no weight is left both are 0.

use crate::error::{Error, Result};
use crate::ops::Region;

/// Classes of [`SoftmaxCrossEntropy`] at most.
const MOST_CLASSES: usize = 1 << 20;

/// What [`PointwiseLoss`] computes of a prediction `x` and a target `y`; the definitions are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointwiseLossKind {
    /// `(x - y)^2`
    Squared,
    /// `|x - y|`; the gradient is 0 where they are equal.
    Absolute,
    /// `(x - y)^2 / 2` up to a distance of `delta`, `delta (|x - y| - delta / 2)` beyond.
    Huber {
        /// Where the parabola ends, greater than zero.
        delta: f32,
    },
    /// Binary cross-entropy with logits: `(1 - y) ln(1 + e^x) + positive_weight y ln(1 + e^-x)`, stable for any logit. `y` is the
    /// probability of the positive class, most often 0 or 1.
    BinaryCrossEntropy {
        /// Weight of the positive class, at least zero; 1 for none.
        positive_weight: f32,
    },
}

/// A loss that each element has by itself: with `w` the weight of an element's row,
/// `loss[0] = sum(w l(x, y)) / sum(w)` over all elements, and `gradient` its derivative by the predictions.
#[derive(Debug, Clone, Copy)]
pub struct PointwiseLoss {
    /// Which.
    pub kind: PointwiseLossKind,
    /// `[rows, width]`
    pub prediction: Region,
    /// `[rows, width]`
    pub target: Region,
    /// `[rows]`, none negative; without them each row weighs 1.
    pub weights: Option<Region>,
    /// `[rows, width]`, written.
    pub gradient: Region,
    /// One element, written.
    pub loss: Region,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

impl PointwiseLossKind {
    /// The loss of a prediction `x` with the target `y`, in double precision.
    pub fn value(self, x: f64, y: f64) -> f64 {
        let distance = (x - y).abs();
        match self {
            Self::Squared => distance * distance,
            Self::Absolute => distance,
            Self::Huber { delta } => {
                let delta = f64::from(delta);
                match distance <= delta {
                    true => 0.5 * distance * distance,
                    false => delta * (distance - 0.5 * delta),
                }
            }
            Self::BinaryCrossEntropy { positive_weight } => {
                let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
                (1.0 - y) * softplus(x) + f64::from(positive_weight) * y * softplus(-x)
            }
        }
    }

    /// Checks its constants.
    ///
    /// # Errors
    /// [`Error::Option`] that names the one out of range.
    pub fn validate(self) -> Result<()> {
        match self {
            PointwiseLossKind::Huber { delta } if !(delta > 0.0 && delta.is_finite()) => {
                let reason = format!("must be greater than zero and finite, not {delta}");
                Err(Error::option("delta", reason))
            }
            PointwiseLossKind::BinaryCrossEntropy { positive_weight }
                if !(positive_weight >= 0.0 && positive_weight.is_finite()) =>
            {
                let reason = format!("must be at least zero and finite, not {positive_weight}");
                Err(Error::option("positive_weight", reason))
            }
            _ => Ok(()),
        }
    }
}

impl PointwiseLoss {
    pub(crate) fn validate(&self) -> Result<()> {
        self.kind.validate()
    }
}

/// Checks targets of [`PointwiseLoss`] before they are written: all finite, and for
/// [`BinaryCrossEntropy`](PointwiseLossKind::BinaryCrossEntropy) probabilities. Of rows with weight 0 nothing is asked.
///
/// # Errors
/// [`Error::Shape`] that names the first bad target or weight, or the lengths if `weights` are not one a row.
pub fn check_targets(
    kind: PointwiseLossKind,
    targets: &[f32],
    weights: Option<&[f32]>,
) -> Result<()> {
    let is_masked = masks(targets.len(), weights)?;
    let (what, range) = match kind {
        PointwiseLossKind::BinaryCrossEntropy { .. } => ("a label from 0 to 1", 0.0..=1.0),
        _ => ("a finite target", f32::MIN..=f32::MAX),
    };
    let bad = |&(index, target): &(usize, &f32)| !range.contains(target) && !is_masked(index);
    match targets.iter().enumerate().find(bad) {
        None => Ok(()),
        Some((index, target)) => Err(Error::shape(format!("target {index}"), what, target)),
    }
}

/// Whether an element belongs to a masked row.
fn masks(elements: usize, weights: Option<&[f32]>) -> Result<impl Fn(usize) -> bool> {
    let rows = weights.map_or(1, <[f32]>::len);
    let fits = match rows {
        0 => elements == 0,
        _ => elements.is_multiple_of(rows),
    };
    if !fits {
        return Err(Error::shape(
            "weights",
            format!("one for each row of {elements} targets"),
            rows,
        ));
    }
    let mut all = weights.unwrap_or_default().iter().enumerate();
    if let Some((index, weight)) = all.find(|(_, w)| !(**w >= 0.0 && w.is_finite())) {
        let expected = "at least zero and finite";
        return Err(Error::shape(format!("weight {index}"), expected, weight));
    }
    let width = elements / rows.max(1);
    Ok(move |index: usize| weights.is_some_and(|weights| weights[index / width] == 0.0))
}

/// Mean squared error and its gradient: `loss[0] = sum((p - t)^2) / len`, `gradient = 2 (p - t) / len`. A
/// [`PointwiseLoss`] without weights.
#[derive(Debug, Clone, Copy)]
pub struct MeanSquaredError {
    /// `[len]`
    pub prediction: Region,
    /// `[len]`
    pub target: Region,
    /// `[len]`, written.
    pub gradient: Region,
    /// One element, written.
    pub loss: Region,
    /// Elements.
    pub len: usize,
}

/// Softmax cross-entropy of rows of logits `x` with one class `y` each, PyTorch's definition with class weights `c` and
/// label smoothing `s`: a row's loss is `sum over classes k of q_k (ln(sum over j of e^x_j) - x_k)` with
/// `q_k = c_k ((1 - s) [k = y] + s / classes)`, stable for any logits; with `w` the weights of rows,
/// `loss[0] = sum(w row's loss) / sum(w c_y)`, and `gradient` is its derivative by the logits.
///
/// A class that is no whole number below `classes` masks its row on the device; [`check_classes`](Self::check_classes)
/// finds such on the host.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxCrossEntropy {
    /// `[rows, classes]`
    pub logits: Region,
    /// `[rows]`: classes as whole numbers.
    pub target: Region,
    /// `[rows]`, none negative; without them each row weighs 1.
    pub weights: Option<Region>,
    /// `[classes]`, none negative; without them each class weighs 1.
    pub class_weights: Option<Region>,
    /// Share of the target that all classes get alike, from 0 to 1.
    pub smoothing: f32,
    /// `[rows, classes]`, written.
    pub gradient: Region,
    /// One element, written.
    pub loss: Region,
    /// Rows.
    pub rows: usize,
    /// Classes, at most 2^20.
    pub classes: usize,
}

impl SoftmaxCrossEntropy {
    /// Checks its constants.
    ///
    /// # Errors
    /// [`Error::Option`] that names the one out of range.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.smoothing) {
            let reason = format!("must be from 0 to 1, not {}", self.smoothing);
            return Err(Error::option("smoothing", reason));
        }
        match self.classes {
            0..=MOST_CLASSES => Ok(()),
            classes => Err(Error::option(
                "classes",
                format!("must be at most {MOST_CLASSES}, not {classes}"),
            )),
        }
    }

    /// Turns classes into what the target's buffer holds.
    ///
    /// # Errors
    /// [`Error::Shape`] that names the first class out of range.
    pub fn check_classes(classes: usize, targets: &[usize]) -> Result<Vec<f32>> {
        let bound = classes.min(MOST_CLASSES);
        match targets
            .iter()
            .enumerate()
            .find(|(_, class)| **class >= bound)
        {
            None => Ok(targets.iter().map(|&class| class as f32).collect()),
            Some((index, class)) => Err(Error::shape(
                format!("class of row {index}"),
                format!("a number below {bound}"),
                class,
            )),
        }
    }
}
