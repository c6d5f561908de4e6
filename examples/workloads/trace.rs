//! Where the time of a call goes: the spans of every dispatch as a Chrome trace (`chrome://tracing`, Perfetto) and a table.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use wgpu_rnn::ops::Section;
use wgpu_rnn::{Device, Error, Result, Span};

use crate::definition::Workload;
use crate::measure::Times;
use crate::options::Options;
use crate::planned::{Data, Planned};

/// Writes the trace of a workload on a device into `options.out` and prints how the time is shared out.
pub(crate) fn trace(
    options: &Options,
    workload: &Workload,
    device: &Arc<dyn Device>,
    place: usize,
) -> Result<()> {
    let data = Data::new(workload)?.by_options(options);
    let mode = workload.training.then(|| options.gradient_mode());
    let mut planned = Planned::new(device, &data, &workload.lengths, mode)?;
    planned.write(&data.x)?;
    let mut sections = vec![("forward", Section::Forward)];
    if mode.is_some() {
        planned.write_gradient(&data.d_y)?;
        sections.push(("backward", Section::Backward));
    }
    let (call, host) = host_share(options, &mut planned, mode.is_some())?;
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
    let path = (options.out).join(format!("{}-{place}.trace.json", workload.name));
    write(&path, &events)?;
    println!("  spans in {}", path.display());
    Ok(())
}

/// Medians of a whole call, and of its part in which the host records and submits.
fn host_share(options: &Options, planned: &mut Planned, backward: bool) -> Result<(f64, f64)> {
    let mut hosts = Vec::new();
    let calls = Times::of(options.seconds, || {
        let before = Instant::now();
        planned.submit(backward)?;
        hosts.push(before.elapsed().as_secs_f64());
        planned.wait()
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
