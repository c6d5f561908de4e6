//! Errors of forecasts.

use super::check_lengths;
use crate::error::{Error, Result, check_finite};

/// Forecasts beside what came, checked once.
///
/// ```
/// use wgpu_rnn::metrics::ForecastErrors;
///
/// let errors = ForecastErrors::new(&[10.0, 20.0], &[12.0, 17.0])?;
/// assert_eq!(errors.mae(), 2.5);
/// assert_eq!(errors.wape()?, 5.0 / 30.0);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ForecastErrors<'a> {
    actual: &'a [f32],
    predicted: &'a [f32],
}

impl<'a> ForecastErrors<'a> {
    /// Pairs `actual` with `predicted` values.
    ///
    /// # Errors
    /// [`Error::Shape`] if lengths differ; [`Error::Data`] if there are none or a value is not finite.
    pub fn new(actual: &'a [f32], predicted: &'a [f32]) -> Result<Self> {
        check_lengths("predicted values", actual.len(), predicted.len())?;
        check_finite("actual value", actual)?;
        check_finite("predicted value", predicted)?;
        Ok(Self { actual, predicted })
    }

    /// Sum over the pairs of a function of `actual - predicted`.
    fn sum(&self, of: impl Fn(f64) -> f64) -> f64 {
        let pairs = self.actual.iter().zip(self.predicted);
        pairs.map(|(&a, &p)| of(f64::from(a) - f64::from(p))).sum()
    }

    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        self.sum(of) / self.actual.len() as f64
    }

    /// Mean absolute error.
    pub fn mae(&self) -> f64 {
        self.mean(f64::abs)
    }

    /// Root of the mean squared error.
    pub fn rmse(&self) -> f64 {
        self.mean(|error| error * error).sqrt()
    }

    /// Weighted absolute percentage error: the sum of absolute errors over the sum of absolute values, as a fraction.
    ///
    /// # Errors
    /// [`Error::Data`] if all actual values are 0.
    pub fn wape(&self) -> Result<f64> {
        let scale: f64 = self.actual.iter().map(|&a| f64::from(a).abs()).sum();
        if scale == 0.0 {
            return Err(Error::data("WAPE", "an actual value other than 0", "none"));
        }
        Ok(self.sum(f64::abs) / scale)
    }

    /// Mean absolute scaled error (Hyndman and Koehler 2006): the MAE over that of repeating, within `training`, the
    /// value of `season` steps ago (1: the last value). Below 1 is better than that.
    ///
    /// # Errors
    /// [`Error::Option`] if `season` is 0; [`Error::Data`] if `training` is not longer than a season, holds a value that
    /// is not finite, or repeats itself exactly, so that there is nothing to scale by.
    pub fn mase(&self, training: &[f32], season: usize) -> Result<f64> {
        if season == 0 {
            return Err(Error::option("season", "must be at least 1 step, got 0"));
        }
        if training.len() <= season {
            return Err(Error::data(
                "training series of MASE",
                format!("more than a season's {season} values"),
                training.len(),
            ));
        }
        check_finite("training value", training)?;
        let naive = ForecastErrors {
            actual: &training[season..],
            predicted: &training[..training.len() - season],
        };
        let scale = naive.mae();
        if scale == 0.0 {
            return Err(Error::data(
                "training series of MASE",
                format!("one that changes over {season} steps"),
                "one that repeats itself",
            ));
        }
        Ok(self.mae() / scale)
    }

    /// Quantile (pinball) loss (Koenker and Bassett 1978): the mean of `q * e` where the error `e = actual - predicted`
    /// is positive, else of `(q - 1) * e`.
    ///
    /// # Errors
    /// [`Error::Option`] if `quantile` is not between 0 and 1.
    pub fn quantile_loss(&self, quantile: f64) -> Result<f64> {
        if !(quantile > 0.0 && quantile < 1.0) {
            return Err(Error::option(
                "quantile",
                format!("between 0 and 1, both excluded, got {quantile}"),
            ));
        }
        Ok(self.mean(|error| (quantile * error).max((quantile - 1.0) * error)))
    }
}
