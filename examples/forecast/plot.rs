//! Forecast and truth over the test part as an SVG file.

use std::error::Error;
use std::path::{Path, PathBuf};

use example_support::series::Series;
use wgpu_rnn::plot::{Curve, Panel};

/// Horizons that the plot shows: more would be too dense to tell the lines apart.
const SHOWN: usize = 12;

/// Draws the end of the test part: the truth and the forecasts that were made every `horizon` rows, so that each row is
/// forecast once. `forecasts` are those of `starts`, in original units.
pub(crate) fn draw(
    series: &Series,
    starts: &[usize],
    forecasts: &[Vec<f64>],
    folder: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    let path = folder.join("forecast.svg");
    let mut shown: Vec<usize> = (0..starts.len()).rev().step_by(series.horizon).collect();
    shown.truncate(SHOWN);
    let first = shown.last().map_or(0, |&at| starts[at]);
    let rows = first.saturating_sub(series.horizon)..series.parts[2].end;
    let title = format!(
        "{}: test part, forecasts of {} steps, one after the other",
        series.name, series.horizon
    );
    let network = |at: usize| points(starts[at], &forecasts[at]);
    let naive = |at: usize| points(starts[at], &series.seasonal_naive(starts[at]));
    // Each forecast is a line of its own: no number between them.
    let apart = |mut points: Vec<(f64, f64)>| {
        points.push((f64::NAN, f64::NAN));
        points
    };
    let curves = vec![
        Curve::new("network", shown.iter().flat_map(|&at| apart(network(at)))),
        Curve::new(
            "seasonal naive",
            shown.iter().flat_map(|&at| apart(naive(at))),
        ),
        Curve::new("truth", rows.map(|row| (row as f64, series.target[row]))),
    ];
    let panel = Panel::new(title, ["row of the file", &series.name], curves);
    wgpu_rnn::plot::draw(&path, &[panel])?;
    Ok(path)
}

fn points(start: usize, values: &[f64]) -> Vec<(f64, f64)> {
    let rows = (start..).map(|row| row as f64);
    rows.zip(values.iter().copied()).collect()
}
