//! Sweeps over the length, the number of sequences and the hidden units: time per timestep of a sequence, which should be
//! flat in the first two, and where each strategy of the GPU device wins.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use wgpu_rnn::Device;
use wgpu_rnn::plot::{Curve, Panel, draw};
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

/// Runs all sweeps, prints a table of each and draws it as `sweep_<axis>.svg` in `folder`.
pub(crate) fn sweep(cell: Cell, targets: &[Target], folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    for (axis, values) in AXES {
        println!("\nmicroseconds per timestep of a sequence, by {axis}");
        let mut curves = Vec::new();
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
                curves.push(Curve::new(label, points));
            }
        }
        let path = folder.join(format!("sweep_{axis}.svg"));
        let axes = [axis, "microseconds per timestep of a sequence"];
        let panel = Panel::new(format!("time per timestep, by {axis}"), axes, curves);
        draw(&path, &[panel.logarithmic()])?;
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
