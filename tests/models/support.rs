//! Devices, batches, and the check of a model's gradients.

use std::sync::{Arc, OnceLock};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::Device;
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::model::{Batch, GradientCheckOptions, Model};

/// The CPU, and with the feature `gpu` Vulkan and GL.
pub(crate) fn devices() -> &'static [Arc<dyn Device>] {
    static DEVICES: OnceLock<Vec<Arc<dyn Device>>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let mut devices: Vec<Arc<dyn Device>> = vec![Arc::new(CpuDevice::with_threads(2).unwrap())];
        devices.extend(gpu_devices());
        devices
    })
}

#[cfg(not(feature = "gpu"))]
fn gpu_devices() -> Vec<Arc<dyn Device>> {
    Vec::new()
}

#[cfg(feature = "gpu")]
fn gpu_devices() -> Vec<Arc<dyn Device>> {
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
    use wgpu_rnn::wgpu::Backends;
    let device = |backends| -> Arc<dyn Device> {
        let options = GpuOptions::new().backends(backends);
        match GpuDevice::request_blocking(&options) {
            Ok(device) => Arc::new(device),
            Err(error) => {
                panic!("these tests need an adapter on {backends:?}, there is none: {error}")
            }
        }
    };
    [Backends::VULKAN, Backends::GL].map(device).to_vec()
}

/// Numbers from -1 to 1.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Sequences of these lengths, of rows of `width` numbers.
pub(crate) fn ragged(seed: u64, lengths: &[usize], width: usize) -> Vec<Vec<f32>> {
    let each = lengths.iter().zip(seed..);
    each.map(|(length, seed)| numbers(seed, length * width))
        .collect()
}

/// Whole numbers below `bound`, sequences of one a step.
pub(crate) fn ids(seed: u64, lengths: &[usize], bound: u32) -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let id = |_| random.random_range(0..bound) as f32;
    let all: Vec<f32> = (0..lengths.iter().sum()).map(id).collect();
    let mut rest = all.as_slice();
    let take = |&length: &usize| {
        let (first, others) = rest.split_at(length);
        rest = others;
        first.to_vec()
    };
    lengths.iter().map(take).collect()
}

/// Every element's gradient on every device against finite differences.
#[track_caller]
pub(crate) fn check(what: &str, model: &Model, batch: &Batch) {
    let parameters = model.initial(7).unwrap();
    let options = GradientCheckOptions {
        elements: 0,
        ..GradientCheckOptions::default()
    };
    for device in devices() {
        let report = model
            .check_gradients(device.as_ref(), &parameters, batch, &options)
            .unwrap_or_else(|error| panic!("{what} on {}: {error}", device.name()));
        assert!(report.passes(), "{what} on {}:\n{report}", device.name());
        assert!(!report.parameters.is_empty(), "{what}: nothing is trained");
    }
}
