//! Lines as SVG files: learning curves, sweeps, ROC curves.
//!
//! ```
//! use wgpu_rnn::plot::{Curve, Panel, draw};
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("loss.svg");
//! let curve = Curve::new("loss", [(1.0, 0.7), (2.0, 0.4), (3.0, 0.3)]);
//! draw(&path, &[Panel::new("Training", ["epoch", "loss"], vec![curve])])?;
//! assert!(std::fs::read_to_string(&path).unwrap().contains("</svg>"));
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};

/// Pixels of a panel.
const PANEL: (u32, u32) = (900, 480);

/// Colours that people of any colour vision tell apart (Okabe and Ito 2008), yellow left out.
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 0, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// One line. It is broken where a coordinate is not finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub label: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// A line through these points.
    pub fn new(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            label: label.into(),
            points: points.into_iter().collect(),
        }
    }
}

/// Axes with lines on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What x and y are.
    pub axes: [String; 2],
    /// Whether x and y are logarithmic: then points whose coordinate is not greater than zero are left out.
    pub logarithmic: [bool; 2],
    /// The lines.
    pub curves: Vec<Curve>,
}

impl Panel {
    /// Linear axes.
    pub fn new(title: impl Into<String>, axes: [&str; 2], curves: Vec<Curve>) -> Self {
        Self {
            title: title.into(),
            axes: axes.map(str::to_owned),
            logarithmic: [false; 2],
            curves,
        }
    }

    /// The same with both axes logarithmic.
    pub fn logarithmic(self) -> Self {
        Self {
            logarithmic: [true; 2],
            ..self
        }
    }

    /// The same with x logarithmic.
    pub fn logarithmic_x(self) -> Self {
        let [_, y] = self.logarithmic;
        Self {
            logarithmic: [true, y],
            ..self
        }
    }

    fn shows(&self, (x, y): (f64, f64)) -> bool {
        let values = [x, y].into_iter().zip(self.logarithmic);
        { values }.all(|(value, logarithmic)| value.is_finite() && (value > 0.0 || !logarithmic))
    }

    /// From the least to the largest of an axis, on the axis's own scale.
    fn bounds(&self, axis: usize) -> Range<f64> {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let values = points
            .filter(|point| self.shows(**point))
            .map(|&(x, y)| self.scaled(axis, [x, y][axis]));
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        match low <= high {
            true => low..high,
            false => 0.0..1.0,
        }
    }

    fn scaled(&self, axis: usize, value: f64) -> f64 {
        match self.logarithmic[axis] {
            true => value.ln(),
            false => value,
        }
    }

    /// Both axes with a margin, and y with room for the legend above the lines.
    fn ranges(&self) -> [Range<f64>; 2] {
        let lines = self.curves.len() as f64;
        [(0, 0.02), (1, 0.06 + 0.06 * lines)].map(|(axis, room)| {
            let Range { start, end } = self.bounds(axis);
            let least = 1e-9 * start.abs().max(end.abs()).max(1e-9);
            let length = (end - start).max(least);
            let range = start - 0.03 * length..end + room * length;
            match self.logarithmic[axis] {
                true => range.start.exp()..range.end.exp(),
                false => range,
            }
        })
    }
}

/// Draws panels below one another into an SVG file, which appears whole or not at all.
///
/// # Errors
/// [`Error::File`] if it cannot be drawn or written.
pub fn draw(path: &Path, panels: &[Panel]) -> Result<()> {
    let mut text = String::new();
    let failed = |error: &dyn Display| {
        let error = std::io::Error::other(error.to_string());
        Error::file(path, "draw", &error)
    };
    {
        let size = (PANEL.0, PANEL.1 * panels.len().max(1) as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let areas = root.split_evenly((panels.len().max(1), 1));
        for (panel, area) in panels.iter().zip(&areas) {
            draw_panel(panel, area).map_err(|error| failed(&error))?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    write_atomically(path, text.as_bytes())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = std::result::Result<(), String>;

fn draw_panel(panel: &Panel, area: &Area<'_>) -> Drawn {
    let [x, y] = panel.ranges();
    match panel.logarithmic {
        [true, true] => draw_on(panel, area, (x.log_scale(), y.log_scale())),
        [true, false] => draw_on(panel, area, (x.log_scale(), y)),
        [false, true] => draw_on(panel, area, (x, y.log_scale())),
        [false, false] => draw_on(panel, area, (x, y)),
    }
}

fn draw_on<X, Y>(panel: &Panel, area: &Area<'_>, (x, y): (X, Y)) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let text = |error: DrawingAreaErrorKind<_>| error.to_string();
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)
        .map_err(text)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(&panel.axes[0])
        .y_desc(&panel.axes[1])
        .draw()
        .map_err(text)?;
    for (index, curve) in panel.curves.iter().enumerate() {
        let style = COLOURS[index % COLOURS.len()].stroke_width(2);
        let pieces = curve.points.split(|&point| !panel.shows(point));
        for (nth, piece) in pieces.filter(|piece| !piece.is_empty()).enumerate() {
            let line = LineSeries::new(piece.iter().copied(), style.filled());
            // A point says more than the line where there are few.
            let line = line.point_size(if curve.points.len() <= 64 { 3 } else { 0 });
            let drawn = chart.draw_series(line).map_err(text)?;
            if nth == 0 {
                let sample = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style);
                drawn.label(curve.label.as_str()).legend(sample);
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(panels: &[Panel]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        draw(&path, panels).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_break_where_there_is_no_number() {
        let whole = Curve::new("whole", (0..100).map(|x| (f64::from(x), f64::from(x * x))));
        let mut broken = whole.clone();
        broken.points[50].1 = f64::NAN;
        let lines = |curve: &Curve| {
            text_of(&[Panel::new("", ["x", "y"], vec![curve.clone()])])
                .matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#D55E00\"")
                .count()
        };
        // One more each: the legend's.
        assert_eq!((lines(&whole), lines(&broken)), (2, 3));
    }

    #[test]
    fn odd_panels_are_drawn() {
        let point = Curve::new("point", [(1.0, 1.0)]);
        let nothing = Curve::new("nothing", [(0.0, -1.0), (f64::INFINITY, 1.0)]);
        for curves in [
            vec![],
            vec![point.clone()],
            vec![nothing.clone()],
            vec![point, nothing],
        ] {
            let panel = Panel::new("title", ["x", "y"], curves);
            let x = panel.clone().logarithmic_x();
            assert_eq!(x.logarithmic, [true, false]);
            let text = text_of(&[panel.clone(), x, panel.logarithmic()]);
            assert_eq!(text.matches("title").count(), 3);
            assert!(text.trim_end().ends_with("</svg>") && !text.contains("NaN"));
        }
        assert!(text_of(&[]).contains("<svg"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("plot.svg");
        assert!(matches!(draw(&path, &[]), Err(Error::File { .. })));
    }
}
