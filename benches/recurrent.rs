//! Forward and backward of whole networks on the CPU and on every GPU adapter: `cargo bench --bench recurrent`.
//!
//! A benchmark is called `<cell>_<pass>/<adapter>/B<sequences>_T<steps>_H<hidden units>`; its throughput is in real timesteps
//! of all sequences a second. What is timed is a planned run with everything on the device: no transfer, no allocation, and on
//! a GPU it ends when the device is done. `backward` is the forward and the backward, as each step of a training is.
//!
//! Before it is timed, each device's answer to the same kind of network is compared with the reference; a benchmark whose
//! answer is wrong fails.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::{Program, Region, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions, Rnn};
use wgpu_rnn::{
    Device, Mode, OutputGradient, PackedBatch, Packing, Parameters, Plan, Result, RnnConfig,
    RnnConfigBuilder, reference,
};

type Build = fn(usize, usize) -> RnnConfigBuilder;

const CELLS: [(&str, Build); 3] = [
    ("elman", RnnConfig::elman),
    ("lstm", RnnConfig::lstm),
    ("gru", RnnConfig::gru),
];

/// Sequences, steps and hidden units; there are as many inputs as hidden units.
#[derive(Debug, Clone, Copy)]
struct Shape {
    batch: usize,
    steps: usize,
    hidden: usize,
}

/// A device, what it is called in a benchmark's name, and the shapes to time on it.
struct Target {
    name: String,
    device: Arc<dyn Device>,
    shapes: Vec<Shape>,
}

const SMALL: Shape = Shape {
    batch: 1,
    steps: 64,
    hidden: 64,
};
const MIDDLE: Shape = Shape {
    batch: 16,
    steps: 64,
    hidden: 64,
};
const LARGE: Shape = Shape {
    batch: 64,
    steps: 128,
    hidden: 128,
};

fn cpu() -> Result<Target> {
    let device = CpuDevice::new()?;
    Ok(Target {
        name: format!("cpu_{}_threads", device.threads()),
        device: Arc::new(device),
        shapes: vec![SMALL, MIDDLE, LARGE],
    })
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<Target> {
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions, list_adapters};
    let mut targets: Vec<Target> = Vec::new();
    for adapter in pollster::block_on(list_adapters()) {
        let info = adapter.get_info();
        // The name, in letters that a benchmark's path can have.
        let plain = |name: &str| -> String {
            let words = name.split(|c: char| !c.is_ascii_alphanumeric());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            words.join("_")
        };
        let name = format!("{}_{}", plain(&info.name), info.backend);
        let options = GpuOptions::new()
            .backends(info.backend.into())
            .adapter(&info.name);
        match GpuDevice::request_blocking(&options) {
            Ok(device) if targets.iter().all(|target| target.name != name) => {
                let software = info.device_type == wgpu_rnn::wgpu::DeviceType::Cpu;
                targets.push(Target {
                    name,
                    device: Arc::new(device),
                    shapes: if software {
                        vec![SMALL, MIDDLE]
                    } else {
                        vec![SMALL, MIDDLE, LARGE]
                    },
                });
            }
            Ok(_) => {}
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    targets
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<Target> {
    Vec::new()
}

fn input(packing: &Packing, features: usize) -> Vec<f32> {
    let len = packing.tokens() * features;
    (0..len).map(|index| (index as f32 * 0.37).sin()).collect()
}

/// Compares output and gradients of a small ragged batch with the reference's in 64 bits. A step's sums of at most
/// `2 * hidden` terms and the following steps' amplification leave a device within some hundred roundings; an error in the
/// algorithm is larger by orders of magnitude.
fn confirm(target: &Target, cell: &str, build: Build, hidden: usize) -> Result<()> {
    let config = build(hidden, hidden).build()?;
    let parameters = Parameters::uniform(&config, 1)?;
    let packing = Arc::new(Packing::new(&[5, 9, 0, 9])?);
    let x = input(&packing, hidden);
    let batch = PackedBatch::new(packing.clone(), hidden, x.clone())?;
    let mut rnn = Rnn::new(target.device.clone(), config.clone(), &parameters)?;
    let output = rnn.forward(&batch, None, Mode::Evaluation)?;
    let up = OutputGradient {
        y: Some(vec![1.0; output.y.len()]),
        ..OutputGradient::default()
    };
    let gradients = rnn.backward(&up)?;

    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
    let (weights, x) = (wide(parameters.data()), wide(&x));
    let mode = Mode::Evaluation;
    let (expected, tape) = reference::forward(&config, &weights, &packing, &x, None, mode, 0)?;
    let up = OutputGradient {
        y: Some(vec![1.0; expected.y.len()]),
        ..OutputGradient::default()
    };
    let derived = reference::backward(&tape, &up)?;
    for (what, got, expected) in [
        ("y", &output.y, &expected.y),
        ("d_x", &gradients.x, &derived.x),
        ("d_parameters", &gradients.parameters, &derived.parameters),
    ] {
        let largest = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let pairs = got.iter().zip(expected);
        let off = pairs.fold(0.0, |most: f64, (&got, expected)| {
            let off = (f64::from(got) - expected).abs();
            if off.is_nan() {
                f64::INFINITY
            } else {
                most.max(off)
            }
        });
        let tolerance = 256.0 * f64::from(f32::EPSILON) * largest;
        assert!(
            off <= tolerance && got.len() == expected.len(),
            "{cell} on {}: {what} is off by {off:e}, tolerance {tolerance:e}",
            target.name
        );
    }
    Ok(())
}

/// A planned network with its data on the device.
struct Planned {
    plan: Box<dyn Plan>,
    network: Network,
    last: Vec<f32>,
}

impl Planned {
    fn new(target: &Target, config: &RnnConfig, shape: Shape, training: bool) -> Result<Self> {
        let parameters = Parameters::uniform(config, 1)?;
        let packing = Arc::new(Packing::dense(shape.steps, shape.batch)?);
        let mut program = Program::new();
        let len = parameters.data().len();
        let mut external = Vec::new();
        for label in ["parameters", "gradients"] {
            let buffer = target.device.buffer(label, len)?;
            external.push((program.buffer(label, len, Role::External), buffer));
        }
        target.device.write(&external[0].1, 0, parameters.data())?;
        let options = NetworkOptions {
            mode: Mode::Training,
            gradients: training.then_some(GradientMode::Save),
            ..NetworkOptions::on(target.device.as_ref())
        };
        let regions = [0, 1].map(|index: usize| Region::from(external[index].0));
        let [weights, gradients] = regions;
        let gradients = training.then_some(gradients);
        let network = Network::new(&mut program, config, &packing, &options, weights, gradients)?;
        network.forward(&mut program)?;
        if training {
            network.backward(&mut program)?;
        }
        let last = vec![0.0; program.spec(network.h_n).len];
        let mut plan = target.device.load(program, &external)?;
        plan.write(network.x, &input(&packing, config.input_size()))?;
        if let Some(edge) = &network.gradients {
            plan.write(edge.y, &vec![1.0; packing.tokens() * config.output_size()])?;
        }
        plan.run(Section::Prepare)?;
        let mut planned = Self {
            plan,
            network,
            last,
        };
        planned.run(training)?;
        Ok(planned)
    }

    /// One pass; reading the last states, a few numbers, waits for the device.
    fn run(&mut self, training: bool) -> Result<()> {
        match training {
            true => (self.plan).run_all(&[Section::Forward, Section::Backward])?,
            false => self.plan.run(Section::Forward)?,
        }
        self.plan.read(self.network.h_n, &mut self.last)
    }
}

fn recurrent(criterion: &mut Criterion, targets: &[Target]) -> Result<()> {
    for (cell, build) in CELLS {
        for target in targets {
            confirm(target, cell, build, 64)?;
        }
        for (pass, training) in [("forward", false), ("backward", true)] {
            let mut group = criterion.benchmark_group(format!("{cell}_{pass}"));
            for target in targets {
                for &shape in &target.shapes {
                    let Shape {
                        batch,
                        steps,
                        hidden,
                    } = shape;
                    let config = build(hidden, hidden).build()?;
                    let mut planned = Planned::new(target, &config, shape, training)?;
                    group.throughput(Throughput::Elements((batch * steps) as u64));
                    let id = BenchmarkId::new(&target.name, format!("B{batch}_T{steps}_H{hidden}"));
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| planned.run(training).expect("the device works"));
                    });
                }
            }
            group.finish();
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut targets = vec![cpu()?];
    targets.extend(gpus());
    recurrent(&mut criterion, &targets)?;
    criterion.final_summary();
    Ok(())
}
