//! Forecast and truth over the test part as an SVG file.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use crate::data::Series;

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
    let root = SVGBackend::new(&path, (1200, 600)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "{}: test part, forecasts of {} steps, one after the other",
        series.name, series.horizon
    );
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(
            rows.start as f64..rows.end as f64,
            bounds(series, rows.clone(), forecasts, &shown),
        )?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("row of the file")
        .x_label_formatter(&|row| format!("{row:.0}"))
        .y_desc(series.name.as_str())
        .draw()?;
    let truth = rows.map(|row| (row as f64, series.target[row]));
    chart
        .draw_series(LineSeries::new(truth, BLACK.stroke_width(2)))?
        .label("truth")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK.stroke_width(2)));
    let network = |start: usize, at: usize| points(start, &forecasts[at]);
    let naive = |start: usize, _: usize| points(start, &series.seasonal_naive(start));
    type Points<'a> = &'a dyn Fn(usize, usize) -> Vec<(f64, f64)>;
    let lines: [(&str, RGBColor, Points<'_>); 2] = [
        ("seasonal naive", RGBColor(150, 170, 200), &naive),
        ("network", RGBColor(210, 60, 30), &network),
    ];
    for (label, colour, line) in lines {
        for (nth, &at) in shown.iter().enumerate() {
            let style = colour.stroke_width(2);
            let drawn = chart.draw_series(LineSeries::new(line(starts[at], at), style))?;
            if nth == 0 {
                drawn.label(label).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2))
                });
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    drop(chart);
    drop(root);
    Ok(path)
}

fn points(start: usize, values: &[f64]) -> Vec<(f64, f64)> {
    let rows = (start..).map(|row| row as f64);
    rows.zip(values.iter().copied()).collect()
}

/// The range of everything that is shown, and a little more.
fn bounds(
    series: &Series,
    rows: Range<usize>,
    forecasts: &[Vec<f64>],
    shown: &[usize],
) -> Range<f64> {
    let values = series.target[rows].iter();
    let values = values.chain(shown.iter().flat_map(|&at| &forecasts[at]));
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), &value| {
        (low.min(value), high.max(value))
    });
    let margin = 0.05 * (high - low).max(1e-9);
    low - margin..high + margin
}
