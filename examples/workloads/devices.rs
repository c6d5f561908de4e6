//! The devices that workloads run on.

use std::sync::Arc;

use wgpu_rnn::cpu::{CpuDevice, CpuOptions};
use wgpu_rnn::{Device, Result};

use crate::selection::{DeviceChoice, Selection};

/// The devices that are asked for, with the number of threads of each.
pub(crate) fn devices(selection: &Selection) -> Result<Vec<(Arc<dyn Device>, usize)>> {
    let mut devices: Vec<(Arc<dyn Device>, usize)> = Vec::new();
    if selection.device != DeviceChoice::Gpu {
        let cpu = CpuOptions::new().instructions(selection.instructions);
        let cpu = match selection.threads {
            Some(threads) => cpu.threads(threads),
            None => cpu,
        };
        let device = CpuDevice::with_options(&cpu)?;
        let threads = device.threads();
        devices.push((Arc::new(device), threads));
    }
    if selection.device != DeviceChoice::Cpu {
        devices.extend(adapters(selection)?.into_iter().map(|device| (device, 0)));
    }
    Ok(devices)
}

#[cfg(feature = "gpu")]
fn adapters(selection: &Selection) -> Result<Vec<Arc<dyn Device>>> {
    use wgpu_rnn::gpu::{GpuDevice, list_adapters};
    if selection.device == DeviceChoice::Gpu {
        let device = GpuDevice::request_blocking(&selection.gpu())?;
        return Ok(vec![Arc::new(device)]);
    }
    let mut devices: Vec<Arc<dyn Device>> = Vec::new();
    for adapter in pollster::block_on(list_adapters()) {
        let info = adapter.get_info();
        let request = (selection.gpu())
            .backends(info.backend.into())
            .adapter(&info.name);
        match GpuDevice::request_blocking(&request) {
            Ok(device) if devices.iter().all(|other| other.name() != device.name()) => {
                devices.push(Arc::new(device));
            }
            Ok(_) => {}
            Err(error) => eprintln!("{}: {error}", info.name),
        }
    }
    Ok(devices)
}

#[cfg(not(feature = "gpu"))]
fn adapters(selection: &Selection) -> Result<Vec<Arc<dyn Device>>> {
    if selection.device == DeviceChoice::Gpu {
        return Err(wgpu_rnn::Error::Option {
            option: "device",
            reason: "this build has no GPU device".to_owned(),
        });
    }
    Ok(Vec::new())
}
