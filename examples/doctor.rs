//! Lists the adapters of this machine and checks every cell on the chosen one against the reference.
//!
//! `cargo run --release --example doctor` checks the CPU device and, if there is one, the best adapter;
//! `-- --list` only lists, and fails if there is nothing to list; `-- --help` tells the rest.

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it than the self-check")]
mod common;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use common::{DROPOUT, Oracle, Problem, arranged, solve_and_check, variants};
use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
use wgpu_rnn::gpu::{GpuDevice, GpuOptions, Strategy, list_adapters, required_limits};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Mode, wgpu};

/// Sizes of the self-check: small enough for seconds, ragged, with an empty sequence.
const INPUT: usize = 3;
const HIDDEN: usize = 5;
const LENGTHS: [usize; 6] = [4, 0, 7, 1, 7, 2];

/// Lists adapters and checks every cell against the reference.
#[derive(Debug, Parser)]
#[command(name = "doctor")]
struct Options {
    /// List the adapters and stop; fails if there is none
    #[arg(long)]
    list: bool,
    /// Look only at this backend
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Look only at adapters whose name contains this, in any case
    #[arg(long)]
    adapter: Option<String>,
    /// What to check; without it the CPU device, and the GPU device if there is an adapter
    #[arg(long, value_enum)]
    device: Option<DeviceChoice>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backend {
    Vulkan,
    Metal,
    Dx12,
    Gl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeviceChoice {
    Gpu,
    Cpu,
}

impl Backend {
    fn backend(self) -> wgpu::Backend {
        match self {
            Self::Vulkan => wgpu::Backend::Vulkan,
            Self::Metal => wgpu::Backend::Metal,
            Self::Dx12 => wgpu::Backend::Dx12,
            Self::Gl => wgpu::Backend::Gl,
        }
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("doctor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let found = list(options);
    if options.list {
        return Ok(found > 0);
    }
    let mut good = true;
    if options.device != Some(DeviceChoice::Gpu) {
        for set in Instructions::available() {
            let device = CpuDevice::with_options(&CpuOptions::new().instructions(set))?;
            good &= check("CPU device", &(Arc::new(device) as _));
        }
    }
    if options.device != Some(DeviceChoice::Cpu) {
        for strategy in [Strategy::Persistent, Strategy::Step] {
            match gpu(options, strategy) {
                Ok(device) => good &= check(&format!("GPU device, {strategy:?} strategy"), &device),
                // Only what was asked for by name is owed.
                Err(error) if options.device.is_none() => {
                    println!("\nGPU device not checked: {error}");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    println!(
        "\n{}",
        if good {
            "All good."
        } else {
            "Something is WRONG here."
        }
    );
    Ok(good)
}

fn gpu(options: &Options, strategy: Strategy) -> wgpu_rnn::Result<Arc<dyn Device>> {
    let mut wanted = GpuOptions::default().strategy(strategy);
    if let Some(backend) = options.backend {
        wanted = wanted.backends(backend.backend().into());
    }
    if let Some(name) = &options.adapter {
        wanted = wanted.adapter(name);
    }
    Ok(Arc::new(GpuDevice::request_blocking(&wanted)?))
}

/// Prints the adapters and returns how many can run the crate.
fn list(options: &Options) -> usize {
    let mut usable = 0;
    println!("adapters");
    for adapter in pollster::block_on(list_adapters()) {
        let info = adapter.get_info();
        let wanted_backend = options.backend.map(Backend::backend);
        let wanted_name = options.adapter.as_deref().unwrap_or("").to_lowercase();
        if wanted_backend.is_some_and(|backend| backend != info.backend)
            || !info.name.to_lowercase().contains(&wanted_name)
        {
            continue;
        }
        usable += usize::from(describe(&adapter, &info));
    }
    if usable == 0 {
        println!("  none that can be used");
    }
    usable
}

/// Prints an adapter; whether it can run the crate.
fn describe(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo) -> bool {
    let limits = adapter.limits();
    let computes = adapter
        .get_downlevel_capabilities()
        .flags
        .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
    let needed = required_limits().max_storage_buffers_per_shader_stage;
    let usable = computes && limits.max_storage_buffers_per_shader_stage >= needed;
    println!(
        "  {} ({}, {:?}){}",
        info.name,
        info.backend,
        info.device_type,
        if usable {
            ""
        } else {
            ": cannot run compute shaders with 8 storage buffers"
        }
    );
    println!("    driver      {} {}", info.driver, info.driver_info);
    println!(
        "    limits      {} storage buffers, {} KiB workgroup memory, {} invocations, binding {} MiB, buffer {} MiB",
        limits.max_storage_buffers_per_shader_stage,
        limits.max_compute_workgroup_storage_size >> 10,
        limits.max_compute_invocations_per_workgroup,
        limits.max_storage_buffer_binding_size >> 20,
        limits.max_buffer_size >> 20,
    );
    let features = adapter.features();
    let of_interest = [
        ("16-bit floats", wgpu::Features::SHADER_F16),
        ("subgroups", wgpu::Features::SUBGROUP),
        ("timestamps", wgpu::Features::TIMESTAMP_QUERY),
    ];
    let has = of_interest.map(|(name, feature)| match features.contains(feature) {
        true => name.to_owned(),
        false => format!("no {name}"),
    });
    println!("    features    {} (none is needed)", has.join(", "));
    usable
}

/// Solves one small problem of every variant, forward and gradients, in evaluation and training. Prints pass or fail with the
/// largest error, relative to the largest element of its tensor.
fn check(title: &str, device: &Arc<dyn Device>) -> bool {
    println!("\n{title}: {}", device.name());
    let mut failures = 0;
    for (index, (name, builder)) in variants(INPUT, HIDDEN).into_iter().enumerate() {
        match check_variant(name, index, builder, device) {
            Ok(worst) => println!("  {name:<40} pass  {worst:.1e}"),
            Err(error) => {
                failures += 1;
                println!("  {name:<40} FAIL  {error}");
            }
        }
    }
    failures == 0
}

/// The largest error over both modes and both ways to keep gates.
fn check_variant(
    name: &str,
    index: usize,
    builder: wgpu_rnn::RnnConfigBuilder,
    device: &Arc<dyn Device>,
) -> Result<f64, String> {
    let mut worst: f64 = 0.0;
    for (mode, gates) in [
        (Mode::Evaluation, GradientMode::Save),
        (Mode::Training, GradientMode::Recompute),
    ] {
        let mut builder = arranged(builder.clone(), index);
        if mode == Mode::Training {
            builder = builder.dropout(DROPOUT);
        }
        let config = builder.build().map_err(|error| error.to_string())?;
        let mut problem = Problem::generate(config, &LENGTHS, index as u64);
        problem.mode = mode;
        worst = worst.max(solve_and_check(
            name,
            &Oracle::new(&problem),
            device,
            gates,
        )?);
    }
    Ok(worst)
}
