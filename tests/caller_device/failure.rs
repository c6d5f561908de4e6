//! A device that is lost, and one that is full.

use std::sync::Arc;
use std::time::Duration;

use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
use wgpu_rnn::rnn::Rnn;
use wgpu_rnn::{
    Device, Error, Mode, OutputGradient, PackedBatch, Packing, Parameters, RnnConfig, wgpu,
};

use crate::host;

fn config() -> RnnConfig {
    RnnConfig::lstm(4, 16).layers(2).build().unwrap()
}

fn network(device: &Arc<dyn Device>) -> wgpu_rnn::Result<Rnn> {
    let parameters = Parameters::uniform(&config(), 1).unwrap();
    Rnn::new(device.clone(), config(), &parameters)
}

fn batch(steps: usize, sequences: usize) -> PackedBatch {
    let packing = Arc::new(Packing::dense(steps, sequences).unwrap());
    PackedBatch::new(packing, 4, vec![0.5; 4 * steps * sequences]).unwrap()
}

#[track_caller]
fn lost<T: std::fmt::Debug>(result: wgpu_rnn::Result<T>) {
    let error = result.expect_err("the device is lost");
    assert!(matches!(error, Error::DeviceLost(_)), "{error:?}");
}

/// The caller's device, which tells nothing, and one of our own.
fn devices() -> Vec<(wgpu::Device, Arc<dyn Device>)> {
    let (raw, queue) = host::device();
    let from_caller = GpuDevice::from_device(raw.clone(), queue, &GpuOptions::new());
    let options = GpuOptions::new().backends(wgpu::Backends::VULKAN);
    let own = GpuDevice::request_blocking(&options).unwrap();
    vec![
        (raw, Arc::new(from_caller)),
        (own.wgpu_device().clone(), Arc::new(own)),
    ]
}

#[test]
fn every_call_of_a_network_tells_of_a_lost_device() {
    let zero = OutputGradient::default();
    for first in 0..4 {
        for (raw, device) in devices() {
            let mut rnn = network(&device).unwrap();
            let small = batch(5, 3);
            rnn.forward(&small, None, Mode::Evaluation).unwrap();
            raw.destroy();
            // Whatever is called first notices it.
            match first {
                0 => lost(rnn.backward(&zero)),
                1 => lost(rnn.forward(&small, None, Mode::Evaluation)),
                2 => lost(rnn.infer(&batch(7, 2), None)),
                _ => lost(device.read(rnn.parameters(), 0..1)),
            }
            lost(rnn.forward(&small, None, Mode::Training));
            lost(rnn.infer(&small, None));
            lost(rnn.set_parameters(&Parameters::zeros(&config()).unwrap()));
            lost(rnn.zero_gradients());
            lost(network(&device));
            lost(device.buffer("another", 8));
            // The network's plan may have gone with the device; then there is no forward to go back from.
            let error = rnn.backward(&zero).unwrap_err();
            assert!(
                matches!(error, Error::DeviceLost(_) | Error::State(_)),
                "{error:?}"
            );
        }
    }
}

#[test]
fn a_device_that_is_lost_while_it_works() {
    for (raw, device) in devices() {
        let mut rnn = network(&device).unwrap();
        let small = batch(20, 3);
        rnn.infer(&small, None).unwrap();
        let thread = std::thread::spawn(move || {
            loop {
                let output = rnn.forward(&small, None, Mode::Training);
                let up = OutputGradient {
                    y: Some(vec![1.0; 20 * 3 * 16]),
                    ..OutputGradient::default()
                };
                if let Err(error) = output.and_then(|_| rnn.backward(&up)) {
                    return error;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        raw.destroy();
        let error = thread.join().expect("no panic");
        assert!(matches!(error, Error::DeviceLost(_)), "{error:?}");
    }
}

/// Set in the process that has little memory.
#[cfg(target_os = "linux")]
const LITTLE_MEMORY: &str = "WGPU_RNN_TEST_LITTLE_MEMORY";

/// What does not fit is an error, and what fits works after it. In a process of its own, whose address space is limited: a
/// software adapter would otherwise promise memory without end.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device() {
    let software = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        info.device_type == wgpu::DeviceType::Cpu && info.backend == wgpu::Backend::Vulkan
    };
    if std::env::var_os(LITTLE_MEMORY).is_some() {
        return fill_the_device();
    }
    let adapters = pollster::block_on(wgpu_rnn::gpu::list_adapters());
    let Some(adapter) = adapters.iter().find(|adapter| software(adapter)) else {
        panic!(
            "this test fills a device, and the memory of a real one is other programs' too: install a software adapter \
             (Debian, Ubuntu: mesa-vulkan-drivers)"
        );
    };
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 6000000 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "failure::a_full_device", "--nocapture"])
        .env(LITTLE_MEMORY, "1")
        .env("WGPU_ADAPTER_NAME", adapter.get_info().name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("filled, and emptied"), "{text}");
}

#[cfg(target_os = "linux")]
fn fill_the_device() {
    let options = GpuOptions::new().backends(wgpu::Backends::VULKAN);
    let gpu = GpuDevice::request_blocking(&options).unwrap();
    let raw = gpu.wgpu_device().clone();
    let device: Arc<dyn Device> = Arc::new(gpu);
    let mut rnn = network(&device).unwrap();
    let (small, large) = (batch(5, 3), batch(1_000, 400));
    let expected = rnn.infer(&small, None).unwrap();
    let mut hoard = Vec::new();
    let error = loop {
        match device.buffer("hoard", (64 << 20) / 4) {
            Ok(buffer) => hoard.push(buffer),
            Err(error) => break error,
        }
        assert!(hoard.len() < 100, "6.4 GB fit into 6 GB");
    };
    // States of 51 MB and gates of 102 MB in each of two layers do not fit where 128 MiB become free.
    hoard.truncate(hoard.len() - 2);
    raw.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let of_network = rnn.forward(&large, None, Mode::Training).map(|_| ());
    let out_of_order = rnn.backward(&OutputGradient::default()).map(|_| ());
    hoard.clear();
    raw.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`hoard` of 67108864 bytes"), "{text}");
    let error = of_network.unwrap_err();
    assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}");
    assert!(
        matches!(out_of_order, Err(Error::State(_))),
        "{out_of_order:?}"
    );
    assert_eq!(rnn.infer(&small, None).unwrap(), expected);
    println!("filled, and emptied");
}
