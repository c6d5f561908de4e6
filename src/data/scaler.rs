//! Numbers brought to one scale.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, checked_product};

/// What a [`Scaler`] makes of each feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// `(x - mean) / standard deviation` (of the population).
    Standard,
    /// `(x - min) / (max - min)`: the training part lies in `[0, 1]`, later values may not.
    MinMax,
    /// `(x - median) / interquartile range`, quartiles interpolated linearly: outliers do not move it.
    Robust,
}

/// Scales rows of features, as fitted on the training part. A feature that was constant there is only centred.
///
/// A scaler is saved with the model that was trained behind it ([`serde`]); what comes back is checked.
///
/// ```
/// use wgpu_rnn::data::{Scaler, Scaling};
///
/// // Two training sequences of two features: a constant one beside it stays as it is, centred.
/// let training = [vec![1.0, 7.0, 3.0, 7.0], vec![5.0, 7.0]];
/// let scaler = Scaler::fit(Scaling::MinMax, 2, training.iter().map(Vec::as_slice))?;
/// let mut later = vec![2.0, 8.0];
/// scaler.transform(&mut later)?;
/// assert_eq!(later, [0.25, 1.0]);
/// scaler.inverse(&mut later)?;
/// assert_eq!(later, [2.0, 8.0]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Scaler {
    scaling: Scaling,
    center: Vec<f64>,
    scale: Vec<f64>,
}

/// A scaler as a file has it, not yet believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    scaling: Scaling,
    // JSON has no NaN and writes it as null.
    center: Vec<Option<f64>>,
    scale: Vec<Option<f64>>,
}

impl TryFrom<Fields> for Scaler {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        let numbers = |values: Vec<Option<f64>>| -> Vec<f64> {
            values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
        };
        let (center, scale) = (numbers(fields.center), numbers(fields.scale));
        if center.len() != scale.len() || center.is_empty() {
            return Err(Error::data(
                "scaler",
                "as many centers as scales, at least one",
                format!("{} and {}", center.len(), scale.len()),
            ));
        }
        for (feature, (&center, &scale)) in center.iter().zip(&scale).enumerate() {
            if !(center.is_finite() && scale.is_finite() && scale > 0.0) {
                return Err(Error::data(
                    format!("scaler, feature {feature}"),
                    "a finite center and a finite scale above 0",
                    format!("{center} and {scale}"),
                ));
            }
        }
        Ok(Self {
            scaling: fields.scaling,
            center,
            scale,
        })
    }
}

impl Scaler {
    /// Fits to sequences of rows, each `[steps, features]`. Hand it the training part and nothing else: what is fitted on
    /// the hold-out as well has seen it.
    ///
    /// # Errors
    /// [`Error::Option`] if `features` is 0; [`Error::Shape`] if a sequence has no whole number of rows;
    /// [`Error::Data`] if there is no row, or names the first value that is not finite.
    pub fn fit<'a>(
        scaling: Scaling,
        features: usize,
        training: impl IntoIterator<Item = &'a [f32]>,
    ) -> Result<Self> {
        if features == 0 {
            return Err(Error::option("features", "must be at least 1, got 0"));
        }
        checked_product("features", &[features])?;
        let mut columns = vec![Vec::new(); features];
        for (number, sequence) in training.into_iter().enumerate() {
            let what = format!("training sequence {number}");
            check_rows(&what, sequence, features)?;
            for row in sequence.chunks_exact(features) {
                for (column, &value) in columns.iter_mut().zip(row) {
                    column.push(f64::from(value));
                }
            }
        }
        if columns[0].is_empty() {
            return Err(Error::data("training part", "at least one row", "none"));
        }
        let (center, scale) = columns
            .into_iter()
            .map(|column| match scaling {
                Scaling::Standard => moments(&column),
                Scaling::MinMax => extremes(&column),
                Scaling::Robust => quartiles(column),
            })
            // A constant feature is not blown up.
            .map(|(center, scale)| (center, if scale > 0.0 { scale } else { 1.0 }))
            .unzip();
        Ok(Self {
            scaling,
            center,
            scale,
        })
    }

    /// What it makes of each feature.
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.center.len()
    }

    /// What is taken from each feature.
    pub fn center(&self) -> &[f64] {
        &self.center
    }

    /// What each feature is then divided by; 1 for one that was constant.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// Scales `rows`, `[steps, features]`, in place; on an error they are as they were.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no whole number of rows; [`Error::Data`] names the first value that is not finite, or
    /// that would not be once scaled.
    pub fn transform(&self, rows: &mut [f32]) -> Result<()> {
        self.map(rows, |value, center, scale| (value - center) / scale)
    }

    /// Takes [`transform`](Self::transform) back: predictions in the units of the data.
    ///
    /// # Errors
    /// As for [`transform`](Self::transform).
    pub fn inverse(&self, rows: &mut [f32]) -> Result<()> {
        self.map(rows, |value, center, scale| value * scale + center)
    }

    fn map(&self, rows: &mut [f32], of: impl Fn(f64, f64, f64) -> f64) -> Result<()> {
        let features = self.features();
        check_rows("rows", rows, features)?;
        let of = |(place, &value): (usize, &f32)| {
            let feature = place % features;
            of(f64::from(value), self.center[feature], self.scale[feature]) as f32
        };
        let mapped: Vec<f32> = rows.iter().enumerate().map(of).collect();
        if let Some(place) = mapped.iter().position(|value| !value.is_finite()) {
            return Err(Error::data(
                value_at("rows", place, features),
                "a value within the range of 32-bit floats once scaled",
                rows[place],
            ));
        }
        rows.copy_from_slice(&mapped);
        Ok(())
    }
}

fn value_at(what: &str, place: usize, features: usize) -> String {
    format!(
        "{what}, row {}, feature {}",
        place / features,
        place % features
    )
}

fn check_rows(what: &str, rows: &[f32], features: usize) -> Result<()> {
    if !rows.len().is_multiple_of(features) {
        return Err(Error::shape(
            what,
            format!("rows of {features} features"),
            format!("{} values", rows.len()),
        ));
    }
    match rows.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(Error::data(
            value_at(what, place, features),
            "a finite number",
            rows[place],
        )),
        None => Ok(()),
    }
}

/// Mean and standard deviation, in two passes: exact for constant features, where one pass leaves rounding.
fn moments(column: &[f64]) -> (f64, f64) {
    let (low, range) = extremes(column);
    if range == 0.0 {
        return (low, 0.0);
    }
    let count = column.len() as f64;
    let mean = column.iter().sum::<f64>() / count;
    let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Minimum and range.
fn extremes(column: &[f64]) -> (f64, f64) {
    let low = column.iter().copied().fold(f64::INFINITY, f64::min);
    let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high - low)
}

/// Median and interquartile range.
fn quartiles(mut column: Vec<f64>) -> (f64, f64) {
    column.sort_unstable_by(f64::total_cmp);
    let quantile = |share| crate::metrics::quantile(&column, share);
    (quantile(0.5), quantile(0.75) - quantile(0.25))
}
