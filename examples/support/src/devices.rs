//! Which devices there are, which one trains, and why.

use std::sync::Arc;

use clap::ValueEnum;
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::{Device, Result};

/// Where to train: an option of a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU device
    Auto,
    /// The GPU device, on a software adapter too
    Gpu,
    /// The CPU device
    Cpu,
}

/// The device that trains and all that the weights are tried on.
#[derive(Debug)]
pub struct Devices {
    /// The one that trains.
    pub training: Arc<dyn Device>,
    /// All of them, the CPU first.
    pub all: Vec<Arc<dyn Device>>,
    /// Why this one trains, for people.
    pub reason: String,
}

/// A GPU, and whether it is hardware.
struct Gpu {
    device: Arc<dyn Device>,
    hardware: bool,
}

#[cfg(feature = "gpu")]
fn gpu() -> Result<Gpu> {
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
    let device = GpuDevice::request_blocking(&GpuOptions::default())?;
    Ok(Gpu {
        hardware: device.adapter_info().device_type != wgpu_rnn::wgpu::DeviceType::Cpu,
        device: Arc::new(device),
    })
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Result<Gpu> {
    Err(wgpu_rnn::Error::NoAdapter {
        detail: "this build has no GPU device".to_owned(),
        advice: "Build with the feature `gpu`",
    })
}

impl Devices {
    /// Looks for what there is and chooses.
    ///
    /// # Errors
    /// The device's; [`Error::NoAdapter`](wgpu_rnn::Error::NoAdapter) if a GPU is asked for by name and there is none.
    pub fn find(choice: DeviceChoice) -> Result<Self> {
        let cpu: Arc<dyn Device> = Arc::new(CpuDevice::new()?);
        let gpu = match (gpu(), choice) {
            // Asked for by name: its absence is an error.
            (Err(error), DeviceChoice::Gpu) => return Err(error),
            (gpu, _) => gpu,
        };
        let mut all: Vec<Arc<dyn Device>> = vec![cpu.clone()];
        if let Ok(gpu) = &gpu {
            all.push(gpu.device.clone());
        }
        let (training, reason) = match (gpu, choice) {
            (Ok(gpu), DeviceChoice::Gpu) => (gpu.device, "as --device gpu asks".to_owned()),
            (_, DeviceChoice::Cpu) => (cpu, "as --device cpu asks".to_owned()),
            (Ok(gpu), _) if gpu.hardware => (gpu.device, "a hardware GPU is there".to_owned()),
            (Ok(gpu), _) => (
                cpu,
                format!(
                    "the only adapter is software ({}), slower than the CPU device; --device gpu trains on it",
                    gpu.device.name()
                ),
            ),
            (Err(error), _) => (cpu, error.to_string()),
        };
        Ok(Self {
            training,
            all,
            reason,
        })
    }
}
