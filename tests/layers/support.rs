//! Devices, random values, and programs that are run on each device.

use std::sync::{Arc, OnceLock};

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::{BufferId, Operation, Program, Role, Section};
use wgpu_rnn::{Device, Plan};

pub(crate) const EPSILON: f64 = f32::EPSILON as f64;

/// The CPU with one and with three threads, and with the feature `gpu` Vulkan and GL adapters.
pub(crate) fn devices() -> &'static [Arc<dyn Device>] {
    static DEVICES: OnceLock<Vec<Arc<dyn Device>>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let mut devices = gpus();
        for threads in [1, 3] {
            devices.push(Arc::new(CpuDevice::with_threads(threads).unwrap()));
        }
        devices
    })
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<Arc<dyn Device>> {
    Vec::new()
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<Arc<dyn Device>> {
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
    use wgpu_rnn::wgpu::Backends;
    // One with a budget that no larger operation fits, so that it is cut into several.
    let adapters = [
        (Backends::VULKAN, GpuOptions::new()),
        (Backends::VULKAN, GpuOptions::new().submit_budget(4096)),
        (Backends::GL, GpuOptions::new()),
    ];
    let device = |(backends, options): (Backends, GpuOptions)| -> Arc<dyn Device> {
        let options = options.backends(backends);
        let device = GpuDevice::request_blocking(&options);
        Arc::new(device.unwrap_or_else(|error| {
            panic!("these tests need a Vulkan and a GL adapter, {backends:?} gave none: {error}")
        }))
    };
    adapters.map(device).to_vec()
}

/// A generator of values in [-1, 1) that are multiples of 2^-12.
pub(crate) struct Values(pub(crate) u64);

impl Values {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 51) as f32 - 4096.0) / 4096.0
    }

    pub(crate) fn vec(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| scale * self.next()).collect()
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * bound as f32) as usize
    }
}

/// A program, its buffers with their contents.
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
    pub(crate) fn buffer(&mut self, values: &[f32]) -> BufferId {
        let buffer = self.program.buffer("test", values.len(), Role::Input);
        self.contents.push((buffer, values.to_vec()));
        buffer
    }

    /// A buffer for results; what is not written stays NaN.
    pub(crate) fn result(&mut self, len: usize) -> BufferId {
        self.buffer(&vec![f32::NAN; len])
    }

    pub(crate) fn push(&mut self, operation: impl Into<Operation>) {
        self.program.push(Section::Forward, operation);
    }

    /// Runs both sections on each device and hands `check` the results with the device's name. On one device two runs give
    /// the same bits, and so does the CPU with any number of threads.
    pub(crate) fn each<const N: usize>(
        &self,
        results: [BufferId; N],
        check: impl Fn(&str, [Vec<f32>; N]),
    ) {
        let mut of_cpu: Option<[Vec<f32>; N]> = None;
        for device in devices() {
            let name = device.name();
            let mut plan = device.load(self.program.clone(), &[]).unwrap();
            plan.set_seed(7).unwrap();
            let [first, second] = [(); 2].map(|()| self.run(&mut *plan, results));
            assert!(same_bits(&first, &second), "{name}: two runs differ");
            if name.starts_with("CPU") {
                let known = of_cpu.get_or_insert_with(|| first.clone());
                assert!(same_bits(known, &first), "threads change the result");
            }
            check(&name, first);
        }
    }

    fn run<const N: usize>(&self, plan: &mut dyn Plan, results: [BufferId; N]) -> [Vec<f32>; N] {
        for (buffer, values) in &self.contents {
            plan.write(*buffer, values).unwrap();
        }
        plan.run_all(&[Section::Forward, Section::Backward])
            .unwrap();
        results.map(|buffer| {
            let mut values = vec![0.0; plan.program().spec(buffer).len];
            plan.read(buffer, &mut values).unwrap();
            values
        })
    }
}

fn same_bits<const N: usize>(a: &[Vec<f32>; N], b: &[Vec<f32>; N]) -> bool {
    let bits = |values: &[Vec<f32>; N]| -> Vec<u32> {
        values
            .iter()
            .flatten()
            .map(|value| value.to_bits())
            .collect()
    };
    bits(a) == bits(b)
}

/// Each value within its tolerance of what is expected; NaN meets NaN.
#[track_caller]
pub(crate) fn assert_close(
    what: &str,
    got: &[f32],
    expected: &[f64],
    tolerance: impl Fn(usize) -> f64,
) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let difference = (f64::from(got) - expected).abs();
        let tolerance = tolerance(i);
        let same = (got.is_nan() && expected.is_nan()) || f64::from(got) == expected;
        assert!(
            same || difference <= tolerance,
            "{what}: [{i}] is {got}, expected {expected} within {tolerance:e}"
        );
    }
}

/// The derivative of `f` at `x` by central differences.
pub(crate) fn derivative(x: f64, f: impl Fn(f64) -> f64) -> f64 {
    const H: f64 = 1.0 / 8192.0;
    (f(x + H) - f(x - H)) / (2.0 * H)
}

/// What [`derivative`] may be off by for functions whose third derivative and value are at most some tens: `H^2 / 6` of the
/// former.
pub(crate) const DERIVATIVE_ERROR: f64 = 1e-8;
