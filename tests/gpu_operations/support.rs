//! Devices, random values, and a program of one operation.

use std::sync::OnceLock;

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice};
use wgpu_rnn::ops::{BufferId, Operation, Program, Role, Section};
use wgpu_rnn::{Device, Plan};

/// The GPU's devices that every operation is tried on.
pub(crate) fn devices() -> &'static [GpuDevice] {
    static DEVICES: OnceLock<Vec<GpuDevice>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        use wgpu_rnn::wgpu::Backends;
        [
            (Backends::VULKAN, LimitsChoice::Default),
            (Backends::VULKAN, LimitsChoice::Adapter),
            (Backends::GL, LimitsChoice::Adapter),
        ]
        .into_iter()
        .map(|(backends, limits)| {
            let options = GpuOptions::new().backends(backends).limits(limits);
            GpuDevice::request_blocking(&options).unwrap_or_else(|error| {
                panic!(
                    "these tests need a Vulkan and a GL adapter, {backends:?} gave none: {error} \
                     (Debian, Ubuntu: apt-get install mesa-vulkan-drivers libegl1 libegl-mesa0 libgl1-mesa-dri)"
                )
            })
        })
        .collect()
    })
}

/// All devices that every operation is tried on: these, and the CPU's. The expectations are of any device; another one that is
/// to meet them joins here.
pub(crate) fn all_devices() -> Vec<&'static dyn Device> {
    static CPU: OnceLock<CpuDevice> = OnceLock::new();
    let cpu: &dyn Device = CPU.get_or_init(|| CpuDevice::new().unwrap());
    let gpus = devices().iter().map(|device| device as &dyn Device);
    gpus.chain([cpu]).collect()
}

/// Numbers in [-1, 1), the same from run to run.
pub(crate) fn random(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Whole numbers in -2..=2: sums of some millions of their products are exact, whatever the order.
pub(crate) fn whole(len: usize, seed: u32) -> Vec<f32> {
    let values = random(len, seed).into_iter();
    values.map(|value| (value * 2.5).round()).collect()
}

/// A program of one section, its buffers with their contents.
#[derive(Default)]
pub(crate) struct Case {
    pub(crate) program: Program,
    pub(crate) contents: Vec<(BufferId, Vec<f32>)>,
}

impl Case {
    pub(crate) fn new() -> Self {
        Self {
            program: Program::new(),
            contents: Vec::new(),
        }
    }

    /// A buffer with these contents.
    pub(crate) fn buffer(&mut self, label: &'static str, values: Vec<f32>) -> BufferId {
        let buffer = self.program.buffer(label, values.len(), Role::Input);
        self.contents.push((buffer, values));
        buffer
    }

    pub(crate) fn push(&mut self, operation: impl Into<Operation>) {
        self.program.push(Section::Forward, operation);
    }

    /// The content of `result` after a run on each device, with the device's name.
    pub(crate) fn run(&self, seed: u64, results: &[BufferId]) -> Vec<(String, Vec<Vec<f32>>)> {
        let run = |device: &dyn Device| {
            let mut plan = device.load(self.program.clone(), &[]).unwrap();
            plan.set_seed(seed).unwrap();
            for (buffer, values) in &self.contents {
                plan.write(*buffer, values).unwrap();
            }
            plan.run(Section::Forward).unwrap();
            let results = results.iter().map(|&result| read(&mut *plan, result));
            (device.name(), results.collect())
        };
        all_devices().into_iter().map(run).collect()
    }

    /// Runs on each device and compares one buffer with `expected`, each element within `tolerance` of it.
    pub(crate) fn expect(&self, what: &str, result: BufferId, expected: &[f64], tolerance: &[f64]) {
        for (device, results) in self.run(0, &[result]) {
            compare(
                &format!("{what} on {device}"),
                &results[0],
                expected,
                tolerance,
            );
        }
    }
}

pub(crate) fn read(plan: &mut dyn Plan, buffer: BufferId) -> Vec<f32> {
    let mut values = vec![0.0; plan.program().spec(buffer).len];
    plan.read(buffer, &mut values).unwrap();
    values
}

/// Each element within its tolerance; tolerance 0 asks for equality. NaN must meet NaN.
pub(crate) fn compare(what: &str, got: &[f32], expected: &[f64], tolerance: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    assert_eq!(
        got.len(),
        tolerance.len(),
        "{what}: length of the tolerances"
    );
    for (index, ((&got, &expected), &tolerance)) in
        got.iter().zip(expected).zip(tolerance).enumerate()
    {
        let difference = (f64::from(got) - expected).abs();
        let same = got.is_nan() && expected.is_nan();
        assert!(
            same || difference <= tolerance,
            "{what}: element {index} is {got}, expected {expected} within {tolerance:e}"
        );
    }
}

pub(crate) fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}
