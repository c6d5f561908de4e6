//! The same trained weights on every device and in the reference: difference, speed, memory.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use wgpu_rnn::{Device, Mode, Packing, reference};

use crate::data::Series;
use crate::model::Model;
use crate::train::{FORECAST_BATCH, forecast};

/// Windows that the reference runs: it is written to be read, not to be fast.
const REFERENCE_WINDOWS: usize = 64;

/// A device's runs over the same windows: the fastest counts.
const RUNS: usize = 3;

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

/// Runs `parameters` on each of `devices`, in the reference in single and in double precision.
pub(crate) fn compare(
    model: &Model,
    series: &Series,
    parameters: &[f32],
    devices: &[Arc<dyn Device>],
) -> Result<Vec<Line>, Box<dyn Error>> {
    let starts: Vec<usize> = series.starts(2).collect();
    let few = spread(&starts, REFERENCE_WINDOWS);
    let (exact, double) = in_reference::<f64>(model, series, parameters, &few)?;
    let (single_result, single) = in_reference::<f32>(model, series, parameters, &few)?;
    let mut lines = Vec::new();
    for device in devices {
        reset_peak();
        let buffer = device.buffer("parameters", model.len())?;
        device.write(&buffer, 0, parameters)?;
        let batch = FORECAST_BATCH.min(starts.len());
        let mut forecaster = model.forecaster(device.as_ref(), &buffer, batch)?;
        let outputs = forecast(&mut forecaster, series, &few)?;
        let x = series.batch(&starts[..batch]).x;
        let mut fastest = f64::INFINITY;
        for _ in 0..RUNS {
            let start = Instant::now();
            forecaster.forecast(&x)?;
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        lines.push(Line {
            name: device.name(),
            difference: Some(largest_difference(&outputs, &exact)),
            windows_per_second: batch as f64 / fastest,
            plan: Some(forecaster.bytes()),
            resident: peak(),
        });
    }
    lines.push(Line {
        difference: Some(largest_difference(&single_result, &exact)),
        ..single
    });
    lines.push(double);
    Ok(lines)
}

/// Prints the table.
pub(crate) fn print(lines: &[Line], window: usize) {
    let bytes = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
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

/// The network's outputs, `[horizon]` for each window.
type Forecasts = Vec<Vec<f64>>;

/// The precisions of the reference.
trait Precision: reference::Float + Into<f64> {
    const NAME: &'static str;
    fn of(value: f32) -> Self;
}

impl Precision for f32 {
    const NAME: &'static str = "reference, 32 bits";
    fn of(value: f32) -> Self {
        value
    }
}

impl Precision for f64 {
    const NAME: &'static str = "reference, 64 bits: what the others are compared with";
    fn of(value: f32) -> Self {
        value.into()
    }
}

/// The network's outputs by the reference and the plain head.
fn in_reference<T: Precision>(
    model: &Model,
    series: &Series,
    parameters: &[f32],
    starts: &[usize],
) -> Result<(Forecasts, Line), Box<dyn Error>> {
    reset_peak();
    let (rnn, head) = parameters.split_at(model.rnn_len);
    let rnn: Vec<T> = rnn.iter().map(|&value| T::of(value)).collect();
    let packing = Packing::dense(model.window, starts.len())?;
    let x: Vec<T> = series
        .batch(starts)
        .x
        .iter()
        .map(|&value| T::of(value))
        .collect();
    let start = Instant::now();
    let (output, _) =
        reference::forward(&model.config, &rnn, &packing, &x, None, Mode::Evaluation, 0)?;
    let seconds = start.elapsed().as_secs_f64();
    let state = model.config.state_size();
    let last = output.state.h.len() - starts.len() * state;
    let rows = output.state.h[last..].chunks_exact(state);
    let (weight, bias) = head.split_at(state * series.horizon);
    let forecasts = rows
        .map(|row| {
            let rows = weight.chunks_exact(state).zip(bias);
            rows.map(|(weight, &bias)| {
                let terms = weight.iter().zip(row);
                terms.fold(f64::from(bias), |sum, (&w, &h)| {
                    sum + f64::from(w) * Into::<f64>::into(h)
                })
            })
            .collect()
        })
        .collect();
    let line = Line {
        name: T::NAME.to_owned(),
        difference: None,
        windows_per_second: starts.len() as f64 / seconds,
        plan: None,
        resident: peak(),
    };
    Ok((forecasts, line))
}

/// At most `count` of `starts`, evenly spread.
fn spread(starts: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(starts.len());
    (0..count)
        .map(|at| starts[at * starts.len() / count])
        .collect()
}

fn largest_difference<T: Copy + Into<f64>>(got: &[Vec<T>], exact: &[Vec<f64>]) -> f64 {
    let pairs = got.iter().flatten().zip(exact.iter().flatten());
    pairs
        .map(|(&got, exact)| (got.into() - exact).abs())
        // Not `f64::max`, which would drop a NaN.
        .fold(0.0, |largest, difference| match difference <= largest {
            true => largest,
            false => difference,
        })
}

/// Starts a new measurement of the process's peak memory, where the system can (Linux).
fn reset_peak() {
    // Without it the figure is the peak since the process began, which is still a bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident set in bytes, where the system tells (Linux).
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
