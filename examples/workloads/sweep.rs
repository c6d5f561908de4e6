//! Sweeps over the length, the number of sequences and the hidden units: time per timestep of a sequence, which should be
//! flat in the first two, and where each strategy of the GPU device wins.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use plotters::prelude::*;
use wgpu_rnn::Device;
use wgpu_rnn::rnn::GradientMode;

use crate::definition::{Cell, Workload};
use crate::measure::Times;
use crate::planned::{Data, Planned};

/// What is varied, and the values that it takes.
const AXES: [(&str, &[usize]); 3] = [
    ("time", &[16, 64, 256, 1024]),
    ("batch", &[1, 4, 16, 64, 256]),
    ("hidden", &[16, 32, 64, 128, 256, 512]),
];

/// Seconds for a point.
const BUDGET: f64 = 0.3;

/// A device by a name that says its strategy.
pub(crate) type Target = (String, Arc<dyn Device>);

/// Microseconds per timestep along an axis.
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
}

/// Runs all sweeps, prints a table of each and draws it as `sweep_<axis>.svg` in `folder`.
pub(crate) fn sweep(cell: Cell, targets: &[Target], folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    for (axis, values) in AXES {
        println!("\nmicroseconds per timestep of a sequence, by {axis}");
        let mut lines = Vec::new();
        for (name, device) in targets {
            for mode in [None, Some(GradientMode::Save)] {
                let pass = if mode.is_some() {
                    "training"
                } else {
                    "forward"
                };
                let label = format!("{name}, {pass}");
                let points = along(cell, (axis, values), device, mode);
                let texts: Vec<String> =
                    points.iter().map(|(x, y)| format!("{x} {y:.3}")).collect();
                println!("  {label}: {}", texts.join(", "));
                lines.push(Line { label, points });
            }
        }
        let path = folder.join(format!("sweep_{axis}.svg"));
        draw(&path, axis, &lines)?;
        println!("  drawn in {}", path.display());
    }
    Ok(())
}

/// The points that the device serves; others are reported and left out.
fn along(
    cell: Cell,
    (axis, values): (&str, &[usize]),
    device: &Arc<dyn Device>,
    mode: Option<GradientMode>,
) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for &value in values {
        let of = |name: &str, otherwise: usize| if axis == name { value } else { otherwise };
        let hidden = of("hidden", 64);
        let workload = Workload {
            name: "sweep".to_owned(),
            title: "",
            cell,
            layers: 1,
            both_directions: false,
            input: hidden,
            hidden,
            lengths: vec![of("time", 32); of("batch", 16)],
            streams: false,
            forward: true,
            training: mode.is_some(),
        };
        let timed = Data::new(&workload).and_then(|data| {
            let mut planned = Planned::new(device, &data, &workload.lengths, mode)?;
            planned.write(&data.x)?;
            Times::of(BUDGET, || planned.run(mode.is_some()))
        });
        match timed {
            Ok(times) => points.push((
                value as f64,
                times.median() * 1e6 / workload.tokens() as f64,
            )),
            Err(error) => eprintln!("{axis} {value} on {}: {error}", device.name()),
        }
    }
    points
}

/// Both axes logarithmic.
fn draw(path: &Path, axis: &str, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let all = lines.iter().flat_map(|line| &line.points);
    let range = |values: Vec<f64>| {
        let low = values.iter().copied().fold(f64::MAX, f64::min);
        let high = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        low.min(high) / 1.3..high * 1.3
    };
    // Room for the legend above the lines.
    let with_room = |values: Vec<f64>| {
        let shown = range(values);
        let decades = (shown.end / shown.start).log10();
        shown.start..shown.end * 10f64.powf(0.4 * decades)
    };
    let (x, y) = (
        range(all.clone().map(|point| point.0).collect()),
        with_room(all.map(|point| point.1).collect()),
    );
    let root = SVGBackend::new(path, (900, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("time per timestep, by {axis}"), ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .y_desc("microseconds per timestep of a sequence")
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let style = Palette99::pick(index).stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?
            .label(line.label.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}
