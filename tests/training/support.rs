//! Devices, and goldens.

use std::sync::{Arc, OnceLock};

use safetensors::SafeTensors;
use wgpu_rnn::Device;
use wgpu_rnn::cpu::CpuDevice;

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

/// A tensor of 64-bit numbers.
pub(crate) fn doubles(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap();
    let numbers = tensor.data().chunks_exact(8);
    numbers
        .map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}
