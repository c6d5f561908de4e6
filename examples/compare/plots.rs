//! Quality against latency, and how the adding problem is learned.

use std::path::Path;

use wgpu_rnn::Result;
use wgpu_rnn::plot::{Curve, Panel, draw};

use crate::adding::STEPS;
use crate::choice::{CELLS, Extra, cell_name};
use crate::memory::Learned;
use crate::problem::Problem;
use crate::study::Measured;

/// A line for each cell and direction, from few units to many; points for those with layer norm.
pub(crate) fn quality_and_latency<P: Problem>(
    path: &Path,
    problem: &P,
    all: &[Measured],
) -> Result<()> {
    let point = |measured: &Measured| (measured.microseconds(), measured.metrics[0]);
    let mut curves = Vec::new();
    for cell in CELLS {
        for (directions, name) in [(1, "one direction"), (2, "both directions")] {
            let of = all.iter().filter(|measured| {
                let choice = measured.choice;
                (choice.cell, choice.directions, choice.extra) == (cell, directions, Extra::None)
            });
            let label = format!("{}, {name}", cell_name(cell));
            curves.push(Curve::new(label, of.map(point)));
        }
    }
    let normed = all
        .iter()
        .filter(|measured| measured.choice.extra == Extra::LayerNorm);
    // Not a line: they have nothing between them.
    let points = normed.flat_map(|measured| [point(measured), (f64::NAN, f64::NAN)]);
    curves.push(Curve::new("with layer norm", points));
    let first = problem.metrics()[0];
    let title = format!(
        "{}: {first} and latency; a line goes from few units to many",
        problem.name()
    );
    let axes = ["p95 latency of one prediction on one CPU thread, us", first];
    draw(path, &[Panel::new(title, axes, curves).logarithmic_x()])
}

/// A panel for each length: the error of each cell by steps.
pub(crate) fn learning_curves(path: &Path, all: &[Learned]) -> Result<()> {
    let panel = |of_length: &[Learned]| {
        let at = |epoch: usize| ((epoch as u64 + 1) * STEPS) as f64;
        let epochs = of_length.iter().map(|learned| learned.errors.len());
        let last = at(epochs.max().unwrap_or(0)) - STEPS as f64;
        let mut curves: Vec<Curve> = { of_length.iter() }
            .map(|learned| {
                let points = learned.errors.iter().enumerate();
                let points = points.map(|(epoch, &error)| (at(epoch), error));
                Curve::new(cell_name(learned.cell), points)
            })
            .collect();
        let Learned {
            length, baseline, ..
        } = of_length[0];
        curves.push(Curve::new("always 1", [(0.0, baseline), (last, baseline)]));
        let title = format!("adding problem, {length} steps");
        Panel::new(title, ["training steps", "mean squared error"], curves)
    };
    let lengths = all.chunk_by(|a, b| a.length == b.length);
    draw(path, &lengths.map(panel).collect::<Vec<Panel>>())
}
