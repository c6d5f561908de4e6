//! Mean absolute and root mean squared error, in original units.

use std::fmt;

use example_support::series::Series;

/// Errors over all windows of a part and all steps of the horizon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scores {
    pub(crate) mae: f64,
    pub(crate) rmse: f64,
}

impl Scores {
    /// Of what `forecast` says for each window: it is given the window's place in `starts` and its first forecast row.
    pub(crate) fn of(
        series: &Series,
        starts: &[usize],
        forecast: impl Fn(usize, usize) -> Vec<f64>,
    ) -> Self {
        let (mut absolute, mut squared) = (0.0, 0.0);
        for (at, &start) in starts.iter().enumerate() {
            for (forecast, truth) in forecast(at, start).iter().zip(series.truth(start)) {
                absolute += (forecast - truth).abs();
                squared += (forecast - truth).powi(2);
            }
        }
        let count = (starts.len() * series.horizon) as f64;
        Self {
            mae: absolute / count,
            rmse: (squared / count).sqrt(),
        }
    }

    /// Whether both errors are smaller than the other's.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        self.mae < other.mae && self.rmse < other.rmse
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MAE {:.4}, RMSE {:.4}", self.mae, self.rmse)
    }
}
