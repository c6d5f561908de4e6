//! Plots as SVG files.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

/// One curve of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) label: String,
    pub(crate) colour: RGBColor,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) const NETWORK: RGBColor = RGBColor(210, 60, 30);
pub(crate) const TREES: RGBColor = RGBColor(60, 120, 200);
pub(crate) const TRUTH: RGBColor = RGBColor(40, 40, 40);
pub(crate) const DIAGONAL: RGBColor = RGBColor(180, 180, 180);

/// Draws curves into the file at `path`; `axes` name x and y.
pub(crate) fn draw(
    path: &Path,
    title: &str,
    axes: [&str; 2],
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (720, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let [x, y] = [0, 1].map(|axis| bounds(curves, axis));
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axes[0])
        .y_desc(axes[1])
        .draw()?;
    for curve in curves {
        let style = curve.colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
            .label(curve.label.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}

/// From the least to the largest of an axis.
fn bounds(curves: &[Curve], axis: usize) -> std::ops::Range<f64> {
    let points = curves.iter().flat_map(|curve| &curve.points);
    let values = points.map(|&(x, y)| [x, y][axis]);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let margin = 0.02 * (high - low).max(1e-9);
    low - margin..high + margin
}
