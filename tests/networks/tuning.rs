//! Tuning: the choices compute the same, and files of choices and of compiled pipelines are used, or left alone if they are
//! not what they should be.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wgpu_rnn::gpu::{GpuDevice, GpuOptions, Tuned, Tuning};
use wgpu_rnn::ops::{Program, Role};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions};
use wgpu_rnn::wgpu::Backends;
use wgpu_rnn::{Device, Packing, RnnConfig};

use crate::common::{Oracle, Problem, solve_and_check, variants};

fn device(options: GpuOptions) -> GpuDevice {
    match GpuDevice::request_blocking(&options.backends(Backends::VULKAN)) {
        Ok(device) => device,
        Err(error) => panic!("these tests need a Vulkan adapter; {error}"),
    }
}

/// A small network, forward and backward.
fn program() -> Program {
    let config = RnnConfig::gru(3, 8).build().unwrap();
    let mut program = Program::new();
    let len = wgpu_rnn::ParameterLayout::new(&config).unwrap().len();
    let [parameters, gradients] =
        ["parameters", "gradients"].map(|label| program.buffer(label, len, Role::External));
    let options = NetworkOptions {
        gradients: Some(GradientMode::Save),
        ..NetworkOptions::default()
    };
    let packing = Arc::new(Packing::new(&[9, 4, 0, 2, 9]).unwrap());
    let network = Network::new(
        &mut program,
        &config,
        &packing,
        &options,
        parameters.into(),
        Some(gradients.into()),
    )
    .unwrap();
    network.forward(&mut program).unwrap();
    network.backward(&mut program).unwrap();
    program
}

fn file(directory: &Path, name: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.find(|path| path.to_string_lossy().ends_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {}", directory.display()))
}

fn check(tuned: &[Tuned]) {
    let kernels = ["recurrent_forward gru ", "recurrent_backward gru "];
    assert_eq!(tuned.len(), kernels.len());
    for (one, kernel) in tuned.iter().zip(kernels) {
        assert!(one.key.starts_with(kernel), "{one:?}");
        assert!(one.seconds > 0.0 && one.seconds <= one.table_seconds);
    }
}

#[test]
fn tuned_choices_compute_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = (GpuOptions::new())
        .tuning(Tuning::OnFirstUse)
        .cache_directory(directory.path());
    let tuned: Arc<dyn Device> = Arc::new(device(options));
    for (index, (name, builder)) in variants(3, 5).into_iter().enumerate().step_by(4) {
        let config = builder.layers(1 + index % 2).build().unwrap();
        let problem = Problem::generate(config, &[4, 0, 7, 1, 7, 2], index as u64);
        let mode = [GradientMode::Save, GradientMode::Recompute][index / 4 % 2];
        solve_and_check(name, &Oracle::new(&problem), &tuned, mode).unwrap();
    }
    let known = fs::read_to_string(file(directory.path(), "tuning.txt")).unwrap();
    assert!(known.lines().count() > 8, "{known}");
}

#[test]
fn choices_outlive_the_device() {
    let directory = tempfile::tempdir().unwrap();
    let cached = || device(GpuOptions::new().cache_directory(directory.path()));
    let first = cached();
    check(&first.tune(&program()).unwrap());
    assert_eq!(first.tune(&program()).unwrap(), []);
    assert_eq!(cached().tune(&program()).unwrap(), []);
    // Without the cache nothing is known.
    check(&device(GpuOptions::new()).tune(&program()).unwrap());
}

#[test]
fn nothing_is_measured_or_written_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("below");
    let device = device(GpuOptions::new().cache_directory(&path));
    let parameters: Vec<_> = (program().buffers().iter())
        .filter(|spec| spec.role == Role::External)
        .map(|spec| device.buffer(&spec.label, spec.len).unwrap())
        .collect();
    // The two external buffers are the program's first.
    let ids = {
        let mut program = Program::new();
        [0, 0].map(|len| program.buffer("id", len, Role::External))
    };
    let external: Vec<_> = ids.into_iter().zip(parameters).collect();
    device.load(program(), &external).unwrap();
    let names: Vec<_> = (fs::read_dir(&path).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // The driver's pipelines: a cache was asked for.
    assert!(
        names.iter().all(|name| name.ends_with("pipelines.bin")),
        "{names:?}"
    );
    assert_eq!(names.len(), 1);
}

#[test]
fn files_that_make_no_sense_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let cached = || device(GpuOptions::new().cache_directory(directory.path()));
    check(&cached().tune(&program()).unwrap());
    let (tuning, pipelines) = (
        file(directory.path(), "tuning.txt"),
        file(directory.path(), "pipelines.bin"),
    );
    let (known, compiled) = (fs::read(&tuning).unwrap(), fs::read(&pipelines).unwrap());
    let text = String::from_utf8(known.clone()).unwrap();
    for bytes in [
        Vec::new(),
        b"\xff\xfe\x00".to_vec(),
        text.replacen("tuning", "tunings", 1).into_bytes(),
        text.replace(": ", ":").into_bytes(),
        text.replace("step ", "walk ")
            .replace("persistent ", "")
            .into_bytes(),
        known[..known.len() / 4].to_vec(),
        vec![b'\n'; 2 << 20],
    ] {
        fs::write(&tuning, &bytes).unwrap();
        check(&cached().tune(&program()).unwrap());
    }
    for bytes in [
        Vec::new(),
        vec![0; 1_000],
        compiled[..16].to_vec(),
        compiled[..compiled.len() - 1].to_vec(),
    ] {
        fs::write(&pipelines, &bytes).unwrap();
        fs::write(&tuning, []).unwrap();
        check(&cached().tune(&program()).unwrap());
    }
    // A place where nothing can be written is no error.
    let options = GpuOptions::new().cache_directory(tuning.join("below a file"));
    check(&device(options).tune(&program()).unwrap());
}
