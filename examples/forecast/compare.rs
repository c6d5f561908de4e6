//! The same trained weights on every device and in the reference: difference, speed, memory.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use example_support::memory::{mebibytes, peak_bytes, reset_peak};
use example_support::series::Series;
use wgpu_rnn::Device;
use wgpu_rnn::model::{Model, ModelParameters, Predictor};

use crate::model::FORECAST;
use crate::train::{FORECAST_BATCH, forecast, windows};

/// Windows that the reference runs: it is written to be read, not to be fast.
const REFERENCE_WINDOWS: usize = 64;

/// A device's runs over the same windows: the first loads the plan, the fastest counts.
const RUNS: usize = 4;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Line {
    name: String,
    /// Largest difference from the reference in double precision, in the network's units.
    difference: Option<f64>,
    windows_per_second: f64,
    /// Bytes of the plan.
    plan: Option<u64>,
    /// Largest resident set of the process while it ran.
    resident: Option<u64>,
}

/// Runs `parameters` on each of `devices` and in the reference.
pub(crate) fn compare(
    model: &Model,
    series: &Series,
    parameters: &ModelParameters,
    devices: &[Arc<dyn Device>],
) -> Result<Vec<Line>, Box<dyn Error>> {
    let starts: Vec<usize> = series.starts(2).collect();
    let few = spread(&starts, REFERENCE_WINDOWS);
    let (exact, reference) = in_reference(model, series, parameters, &few)?;
    let many = &starts[..FORECAST_BATCH.min(starts.len())];
    let batch = windows(series, many)?;
    let mut lines = Vec::new();
    for device in devices {
        reset_peak();
        // Only the plan that was used last is kept, so its bytes are all there are.
        let mut predictor = Predictor::new(device.clone(), model, parameters)?.most_bytes(0);
        let outputs = forecast(&mut predictor, series, &few)?;
        let mut fastest = f64::INFINITY;
        for _ in 0..RUNS {
            let start = Instant::now();
            predictor.run(&batch)?;
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        lines.push(Line {
            name: device.name(),
            difference: Some(largest_difference(outputs.iter().flatten(), &exact)),
            windows_per_second: many.len() as f64 / fastest,
            plan: Some(predictor.bytes()),
            resident: peak_bytes(),
        });
    }
    lines.push(reference);
    Ok(lines)
}

/// Prints the table.
pub(crate) fn print(lines: &[Line], window: usize) {
    let bytes = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{:.1} MiB", mebibytes(bytes)),
        None => "-".to_owned(),
    };
    println!(
        "{:<58} {:>10} {:>12} {:>13} {:>11} {:>12}",
        "same weights on", "difference", "sequences/s", "timesteps/s", "plan", "process peak"
    );
    for line in lines {
        let name: String = line.name.chars().take(58).collect();
        let difference = line
            .difference
            .map_or("-".to_owned(), |difference| format!("{difference:.1e}"));
        println!(
            "{name:<58} {difference:>10} {:>12.0} {:>13.0} {:>11} {:>12}",
            line.windows_per_second,
            line.windows_per_second * window as f64,
            bytes(line.plan),
            bytes(line.resident),
        );
    }
}

/// The network's outputs by plain loops in double precision, `[windows, horizon]`, and what they cost.
fn in_reference(
    model: &Model,
    series: &Series,
    parameters: &ModelParameters,
    starts: &[usize],
) -> Result<(Vec<f64>, Line), Box<dyn Error>> {
    reset_peak();
    let batch = windows(series, starts)?;
    let start = Instant::now();
    let outputs = model.reference(parameters, &batch, FORECAST)?;
    let line = Line {
        name: "reference, 64 bits: what the others are compared with".to_owned(),
        difference: None,
        windows_per_second: starts.len() as f64 / start.elapsed().as_secs_f64(),
        plan: None,
        resident: peak_bytes(),
    };
    Ok((outputs, line))
}

/// At most `count` of `starts`, evenly spread.
fn spread(starts: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(starts.len());
    (0..count)
        .map(|at| starts[at * starts.len() / count])
        .collect()
}

fn largest_difference<'a>(got: impl Iterator<Item = &'a f32>, exact: &[f64]) -> f64 {
    got.zip(exact)
        .map(|(&got, exact)| (f64::from(got) - exact).abs())
        // Not `f64::max`, which would drop a NaN.
        .fold(0.0, |largest, difference| match difference <= largest {
            true => largest,
            false => difference,
        })
}
