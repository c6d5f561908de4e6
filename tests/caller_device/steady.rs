//! What a planned run allocates: nothing.

use std::sync::Arc;

use wgpu_rnn::gpu::{GpuDevice, GpuOptions, Strategy};
use wgpu_rnn::ops::{Program, Region, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions, Rnn};
use wgpu_rnn::{
    Device, Mode, OutputGradient, PackedBatch, Packing, Parameters, Plan, RnnConfig, wgpu,
};

use crate::host;

/// All that the driver has allocated for the device, by size, once its work is done.
fn allocations(device: &wgpu::Device) -> Vec<(String, u64)> {
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let report = device.generate_allocator_report();
    let report = report.expect("the Vulkan backend reports its allocations");
    let all = report.allocations.into_iter();
    let mut all: Vec<_> = all.map(|one| (one.name, one.size)).collect();
    all.sort();
    all
}

fn batch(config: &RnnConfig, seed: f32) -> PackedBatch {
    let packing = Arc::new(Packing::new(&[30, 11, 0, 30]).unwrap());
    let len = packing.tokens() * config.input_size();
    let x = (0..len).map(|index| (index as f32 * seed).sin()).collect();
    PackedBatch::new(packing, config.input_size(), x).unwrap()
}

#[test]
fn a_planned_run_allocates_nothing() {
    for strategy in [Strategy::Persistent, Strategy::Step] {
        let (raw, queue) = host::device();
        let options = GpuOptions::new().strategy(strategy);
        let device = GpuDevice::from_device(raw.clone(), queue.clone(), &options);
        let config = RnnConfig::lstm(4, 16).layers(2).build().unwrap();
        let mut program = Program::new();
        let len = Parameters::zeros(&config).unwrap().data().len();
        let external = ["parameters", "gradients"].map(|label| {
            let id = program.buffer(label, len, Role::External);
            (id, device.buffer(label, len).unwrap())
        });
        let network = Network::new(
            &mut program,
            &config,
            batch(&config, 0.1).packing(),
            &NetworkOptions {
                gradients: Some(GradientMode::Save),
                ..NetworkOptions::default()
            },
            external[0].0.into(),
            Some(Region::from(external[1].0)),
        )
        .unwrap();
        network.forward(&mut program).unwrap();
        network.backward(&mut program).unwrap();
        let mut plan = device.load_plan(program, &external).unwrap();
        let run = |plan: &mut wgpu_rnn::gpu::GpuPlan| {
            for section in [Section::Prepare, Section::Forward, Section::Backward] {
                plan.run(section).unwrap();
            }
            let mut encoder = raw.create_command_encoder(&Default::default());
            plan.record(Section::Forward, &mut encoder).unwrap();
            queue.submit([encoder.finish()]);
        };
        run(&mut plan);
        let (before, bytes) = (allocations(&raw), plan.bytes());
        for _ in 0..10 {
            run(&mut plan);
        }
        assert_eq!(allocations(&raw), before);
        assert_eq!(plan.bytes(), bytes);
        // The report is worth something: it shows a buffer more.
        let another = device.buffer("another", 1_000).unwrap();
        assert_ne!(allocations(&raw), before);
        drop(another);
        assert_eq!(allocations(&raw), before);
    }
}

/// Training steps with batches of one shape: what comes in and goes out passes through memory that is given back.
#[test]
fn training_steps_of_one_shape_keep_nothing() {
    let (raw, queue) = host::device();
    let device: Arc<dyn Device> = Arc::new(GpuDevice::from_device(
        raw.clone(),
        queue,
        &GpuOptions::new(),
    ));
    let config = RnnConfig::gru(4, 16).layers(2).build().unwrap();
    let mut parameters = Parameters::uniform(&config, 1).unwrap();
    let mut rnn = Rnn::new(device, config.clone(), &parameters).unwrap();
    let mut step = |seed: f32| {
        let output = rnn
            .forward(&batch(&config, seed), None, Mode::Training)
            .unwrap();
        let up = OutputGradient {
            y: Some(output.y),
            ..OutputGradient::default()
        };
        let gradients = rnn.backward(&up).unwrap().parameters;
        for (value, gradient) in parameters.data_mut().iter_mut().zip(gradients) {
            *value -= 1e-3 * gradient;
        }
        rnn.set_parameters(&parameters).unwrap();
        (allocations(&raw), rnn.bytes())
    };
    let warm = [step(0.1), step(0.2)];
    for seed in 3..9 {
        assert_eq!(step(seed as f32 * 0.1), warm[1]);
    }
}
