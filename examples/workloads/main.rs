//! The standard workloads on the CPU and on every adapter: `cargo run --release --example workloads`.
//!
//! Each workload is checked against the reference before it is timed. Timed is what a user calls: packing ragged
//! sequences and bringing them to the device, one or two sections of a plan, and waiting for the device. Of the outputs
//! the last states are read, except in `W1` and `W2`, where all of the output is.
//!
//! `cargo run --release --example workloads -- --help` names the options.

mod check;
mod definition;
mod devices;
mod measure;
mod operations;
mod options;
mod planned;
mod report;
mod selection;
mod sweep;
mod twin;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use example_support::memory::{mebibytes, peak_bytes, reset_peak, resident_bytes};
use wgpu_rnn::ops::Role;
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Result};

use definition::Workload;
use devices::devices;
use measure::Times;
use options::Options;
use planned::{Data, Planned};
use report::Report;
use selection::Selection;

fn main() -> ExitCode {
    env_logger::init();
    let options = Options::parse();
    if options.sweep {
        let swept = sweep_targets(&options.selection)
            .map_err(Into::into)
            .and_then(|targets| {
                sweep::sweep(options.selection.cell, &targets, &options.selection.out)
            });
        return match swept {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("workloads: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let result = (options.selection)
        .workloads()
        .and_then(|workloads| run(&options, &workloads).map_err(|error| error.to_string()));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("workloads: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn run(options: &Options, workloads: &[Workload]) -> Result<bool> {
    let (mut fine, selection) = (true, &options.selection);
    for (device, threads) in devices(selection)? {
        if options.operations {
            operations::operations(selection, workloads, &device)?;
            continue;
        }
        let report = Report::new(options.json, &device.name(), threads);
        if options.dense_twin {
            for workload in workloads {
                twin::compare(selection, workload, &device, &report)?;
            }
            continue;
        }
        for workload in workloads {
            match time(selection, workload, &device, &report) {
                Ok(well) => fine &= well,
                Err(error) => {
                    report.failed(workload, &error.to_string());
                    fine = false;
                }
            }
        }
    }
    Ok(fine)
}

/// The devices of a sweep: each adapter with either strategy, and with the one that is chosen by sizes.
fn sweep_targets(selection: &Selection) -> Result<Vec<sweep::Target>> {
    let mut targets = Vec::new();
    for (device, threads) in devices(selection)? {
        if threads > 0 {
            targets.push((device.name(), device));
        } else {
            targets.extend(by_strategy(device)?);
        }
    }
    Ok(targets)
}

#[cfg(feature = "gpu")]
fn by_strategy(device: Arc<dyn Device>) -> Result<Vec<sweep::Target>> {
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions, Strategy};
    // A device's name begins with its adapter's.
    let mut targets: Vec<sweep::Target> = Vec::new();
    for adapter in pollster::block_on(wgpu_rnn::gpu::list_adapters()) {
        let info = adapter.get_info();
        for (name, strategy) in [
            ("persistent", Strategy::Persistent),
            ("by steps", Strategy::Step),
            ("as chosen", Strategy::Auto),
        ] {
            let request = GpuOptions::new()
                .backends(info.backend.into())
                .adapter(&info.name)
                .strategy(strategy);
            let forced = GpuDevice::request_blocking(&request)?;
            if Device::name(&forced) == device.name() && targets.len() < 3 {
                targets.push((format!("{} {name}", info.backend), Arc::new(forced)));
            }
        }
    }
    Ok(targets)
}

#[cfg(not(feature = "gpu"))]
fn by_strategy(_: Arc<dyn Device>) -> Result<Vec<sweep::Target>> {
    Ok(Vec::new())
}

/// Checks and times a workload; whether the check passed.
fn time(
    selection: &Selection,
    workload: &Workload,
    device: &Arc<dyn Device>,
    report: &Report,
) -> Result<bool> {
    let data = Data::new(workload)?.selected(selection);
    let mode = workload.training.then(|| selection.gradient_mode());
    let difference = match workload.streams {
        true => check::check_stream(&data, device)?,
        false => check::check(workload, &data, device, mode)?,
    };
    report.checked(workload, &difference);
    if !difference.is_fine() {
        report.failed(
            workload,
            "differs from the reference by more than the tolerance",
        );
        return Ok(false);
    }
    if workload.streams {
        let mut planned = Planned::new(device, &data, &workload.lengths, None)?;
        let times = Times::of(selection.seconds, || planned.step(&data.x[0]))?;
        report.stream(workload, &times);
        report_costs(workload, &planned, None, report);
    } else if workload.forward {
        pass(selection, workload, (&data, None), device, report)?;
    }
    if workload.training {
        pass(selection, workload, (&data, mode), device, report)?;
    }
    Ok(true)
}

/// Times a pass, forward only or, with a mode, forward and backward.
fn pass(
    selection: &Selection,
    workload: &Workload,
    (data, mode): (&Data, Option<GradientMode>),
    device: &Arc<dyn Device>,
    report: &Report,
) -> Result<()> {
    // What an earlier workload left would count as this one's.
    device.release_pooled();
    reset_peak();
    let before = resident_bytes();
    let mut planned = Planned::new(device, data, &workload.lengths, mode)?;
    let (ragged, single) = (
        workload.lengths.iter().min() != workload.lengths.iter().max(),
        workload.lengths.len() == 1,
    );
    planned.write(&data.x)?;
    if mode.is_some() {
        planned.write_gradient(&data.d_y)?;
    }
    let times = Times::of(selection.seconds, || {
        if ragged || single {
            planned.write(&data.x)?;
        }
        if ragged && mode.is_some() {
            planned.write_gradient(&data.d_y)?;
        }
        planned.run(mode.is_some())?;
        if single {
            planned.read(planned.network.y)?;
        }
        Ok(())
    })?;
    report.pass(workload, mode.is_some(), &times);
    report_costs(workload, &planned, before, report);
    Ok(())
}

fn report_costs(workload: &Workload, planned: &Planned, before: Option<u64>, report: &Report) {
    report.dispatches(
        workload,
        planned.dispatches(planned.network.gradients.is_some()),
    );
    let program = planned.plan.program();
    report.memory(
        workload,
        &[
            ("parameter_mb", Some(program.bytes(Role::External))),
            ("activation_mb", Some(program.bytes(Role::Activation))),
            ("packed_mb", Some(program.bytes(Role::Packed))),
            ("workspace_mb", Some(program.bytes(Role::Workspace))),
            ("plan_mb", Some(planned.plan.bytes())),
            ("rss_before_mb", before),
            ("peak_rss_mb", before.and_then(|_| peak_bytes())),
        ]
        .map(|(name, bytes)| (name, bytes.map(mebibytes))),
    );
}
