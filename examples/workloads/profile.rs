//! Where the time of a call goes: `cargo run --release --example profile`. For each workload and device the share of the host,
//! the time of each kernel, and the spans of all dispatches, measured by timestamps on the device, as a Chrome trace
//! (`chrome://tracing`, Perfetto).
//!
//! `cargo run --release --example profile -- --help` names the options.

// It shares these with the workloads example, and needs less of them.
#[expect(dead_code, reason = "operations are not counted")]
mod definition;
mod devices;
#[expect(dead_code, reason = "calls are not compared")]
mod measure;
#[expect(dead_code, reason = "answers are not checked")]
mod planned;
mod selection;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use serde_json::{Value, json};
use wgpu_rnn::ops::Section;
use wgpu_rnn::{Device, Error, Result, Span};

use definition::Workload;
use measure::Times;
use planned::{Data, Planned};
use selection::Selection;

/// Measures every dispatch of the standard workloads, or of one of your own sizes, and writes Chrome traces.
#[derive(Debug, Clone, Parser)]
#[command(name = "profile")]
struct Options {
    #[command(flatten)]
    selection: Selection,
}

fn main() -> ExitCode {
    env_logger::init();
    let Options { selection } = Options::parse();
    let result = selection
        .workloads()
        .and_then(|workloads| run(&selection, &workloads).map_err(|error| error.to_string()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("profile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(selection: &Selection, workloads: &[Workload]) -> Result<()> {
    for (place, (device, _)) in devices::devices(selection)?.into_iter().enumerate() {
        for workload in workloads {
            profile(selection, workload, &device, place)?;
        }
    }
    Ok(())
}

/// Writes the trace of a workload on a device into the selection's folder and prints how the time is shared out.
fn profile(
    selection: &Selection,
    workload: &Workload,
    device: &Arc<dyn Device>,
    place: usize,
) -> Result<()> {
    let data = Data::new(workload)?.selected(selection);
    let mode = workload.training.then(|| selection.gradient_mode());
    let mut planned = Planned::new(device, &data, &workload.lengths, mode)?;
    planned.write(&data.x)?;
    let mut sections = vec![("forward", Section::Forward)];
    if mode.is_some() {
        planned.write_gradient(&data.d_y)?;
        sections.push(("backward", Section::Backward));
    }
    let (call, host) = host_share(selection, &mut planned, mode.is_some())?;
    println!(
        "\n{} {} on {}: {:.3} ms a call, of which {:.3} ms ({:.1} %) until the host had handed it over",
        workload.name,
        workload.title,
        device.name(),
        1e3 * call,
        1e3 * host,
        100.0 * host / call
    );
    let (mut events, mut offset) = (Vec::new(), 0.0);
    for (name, section) in sections {
        let spans = planned.plan.profile(section)?;
        print_shares(name, &spans);
        events.extend(spans.iter().map(|span| event(name, span, offset)));
        offset += spans.last().map_or(0.0, |span| span.end);
    }
    let path = (selection.out).join(format!("{}-{place}.trace.json", workload.name));
    write(&path, &events)?;
    println!("  spans in {}", path.display());
    Ok(())
}

/// Medians of a whole call, and of its part in which the host records and submits.
fn host_share(selection: &Selection, planned: &mut Planned, backward: bool) -> Result<(f64, f64)> {
    let sections: &[Section] = match backward {
        true => &[Section::Forward, Section::Backward],
        false => &[Section::Forward],
    };
    let (mut hosts, mut last) = (Vec::new(), planned.last_states().to_vec());
    let calls = Times::of(selection.seconds, || {
        let before = Instant::now();
        planned.plan.run_all(sections)?;
        hosts.push(before.elapsed().as_secs_f64());
        // Waits for the device.
        planned.plan.read(planned.network.h_n, &mut last)
    })?;
    hosts.sort_by(f64::total_cmp);
    Ok((calls.median(), hosts[hosts.len() / 2]))
}

/// The time of each kernel, largest first.
fn print_shares(section: &str, spans: &[Span]) {
    let mut kernels = BTreeMap::<&str, (usize, f64)>::new();
    for span in spans {
        let (count, time) = kernels.entry(&span.label).or_default();
        *count += 1;
        *time += span.duration();
    }
    let total: f64 = kernels.values().map(|(_, time)| time).sum();
    let mut kernels: Vec<_> = kernels.into_iter().collect();
    kernels.sort_by(|(_, (_, a)), (_, (_, b))| b.total_cmp(a));
    println!(
        "  {section}: {} dispatches, {:.3} ms",
        spans.len(),
        1e3 * total
    );
    for (label, (count, time)) in kernels {
        println!(
            "    {label:32} {count:6} x {:10.3} ms {:5.1} %",
            1e3 * time,
            100.0 * time / total
        );
    }
}

/// A complete event of the trace format; times in microseconds.
fn event(section: &str, span: &Span, offset: f64) -> Value {
    json!({
        "name": span.label,
        "cat": section,
        "ph": "X",
        "ts": 1e6 * (offset + span.start),
        "dur": 1e6 * span.duration(),
        "pid": 1,
        "tid": 1,
        "args": { "workgroups": span.workgroups },
    })
}

fn write(path: &Path, events: &[Value]) -> Result<()> {
    let text = json!({ "displayTimeUnit": "ms", "traceEvents": events }).to_string();
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text));
    written.map_err(|error| Error::Device(format!("{}: {error}", path.display())))
}
