//! The repository's own cases, computed by PyTorch with `scripts/goldens.py`, on the reference and on both devices: what
//! the runner `conformance` proves of any folder, of the one that comes with the crate.

#[path = "../examples/conformance/activation.rs"]
mod activation;
#[path = "../examples/conformance/compare.rs"]
mod compare;
#[path = "../examples/conformance/convert.rs"]
mod convert;
#[path = "../examples/conformance/device.rs"]
mod device;
#[path = "../examples/conformance/manifest.rs"]
mod manifest;
#[path = "../examples/conformance/run.rs"]
mod run;
#[path = "../examples/conformance/suite.rs"]
mod suite;
#[path = "../examples/conformance/tensor.rs"]
mod tensor;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use device::{DeviceName, Engine};
use manifest::Suite;
use safetensors::tensor::{SafeTensors, TensorView};
use suite::{Selection, Stop, Tally, run_folder};
use wgpu_rnn::cpu::Instructions;

/// How many there are: a manifest that lost some is found out.
const CASES: usize = 62;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn run_all(folder: &Path, engine: &Engine) -> (Tally, Vec<String>) {
    let (mut tally, mut lines) = (Tally::default(), Vec::new());
    let print = &mut |line| lines.push(line);
    run_folder(folder, &Selection::default(), engine, (&mut tally, print));
    (tally, lines)
}

fn every_case_passes(name: DeviceName, set: Instructions) {
    let engine = Engine::open(name, set).unwrap_or_else(|error| panic!("{error}"));
    let (tally, lines) = run_all(&folder(), &engine);
    let all = Tally {
        passed: CASES,
        ..Tally::default()
    };
    let device = engine.name();
    assert!(
        tally == all && lines.is_empty(),
        "{device}: {tally:?}\n{}",
        lines.join("\n")
    );
}

#[test]
fn reference() {
    every_case_passes(DeviceName::Reference, Instructions::Widest);
}

#[test]
fn cpu() {
    for set in Instructions::available() {
        every_case_passes(DeviceName::Cpu, set);
    }
}

#[cfg(feature = "gpu")]
#[test]
fn gpu() {
    every_case_passes(DeviceName::Gpu, Instructions::Widest);
}

#[test]
fn each_file_belongs_to_a_case() {
    let suite = Suite::read(&folder(), "goldens").unwrap();
    let named: BTreeSet<String> = (suite.cases())
        .map(|case| case.file().unwrap().to_owned())
        .collect();
    let there: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    assert_eq!(named, there);
    assert_eq!(named.len(), CASES);
}

/// A folder of one case whose file is `file`, if there is one.
fn folder_of_one_case(label: &str, entry: &serde_json::Value, file: Option<&[u8]>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("goldens-{label}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = serde_json::json!({ "format": 1, "suite": label, "cases": { "case": entry } });
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    if let Some(bytes) = file {
        std::fs::write(folder.join(entry["file"].as_str().unwrap()), bytes).unwrap();
    }
    folder
}

/// The entry and the file of a case with several layers, directions, states and gradients.
fn sample() -> (serde_json::Value, Vec<u8>) {
    let manifest = std::fs::read(folder().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let entry = manifest["cases"]["lstm_ragged_bidirectional"].clone();
    let file = std::fs::read(folder().join(entry["file"].as_str().unwrap())).unwrap();
    (entry, file)
}

/// `file` with the tensors whose name starts with `name` off by `by` in their last element.
fn planted(file: &[u8], name: &str, by: f64) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let in_64_bits = name.replacen('.', "64.", 1);
    let changed: Vec<(String, Vec<u8>)> = (tensors.tensors().into_iter())
        .map(|(tensor, view)| {
            let mut bytes = view.data().to_vec();
            let len = bytes.len();
            if tensor == name {
                let value = f32::from_le_bytes(bytes[len - 4..].try_into().unwrap());
                bytes[len - 4..].copy_from_slice(&(value + by as f32).to_le_bytes());
            } else if tensor == in_64_bits {
                let value = f64::from_le_bytes(bytes[len - 8..].try_into().unwrap());
                bytes[len - 8..].copy_from_slice(&(value + by).to_le_bytes());
            }
            (tensor, bytes)
        })
        .collect();
    let views = changed.iter().map(|(name, bytes)| {
        let view = tensors.tensor(name).unwrap();
        let view = TensorView::new(view.dtype(), view.shape().to_vec(), bytes).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Each tensor that a case lists is compared to its last element: an error of twice its tolerance is found, in it alone.
#[test]
fn a_planted_error_is_found() {
    let engine = Engine::open(DeviceName::Cpu, Instructions::Widest).unwrap();
    let (entry, file) = sample();
    let tolerances = entry["tolerance"].as_object().unwrap();
    assert!(tolerances.len() > 10, "{tolerances:?}");
    for (name, tolerance) in tolerances {
        let planted = planted(&file, name, 2.0 * tolerance.as_f64().unwrap());
        let folder = folder_of_one_case("planted", &entry, Some(&planted));
        let (tally, lines) = run_all(&folder, &engine);
        assert_eq!((tally.passed, tally.failed), (0, 1), "{name}: {lines:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&format!("{name}:")), "{lines:?}");
    }
}

#[test]
fn a_missing_file_and_an_unknown_feature_do_not_pass() {
    let engine = Engine::open(DeviceName::Reference, Instructions::Widest).unwrap();
    let (mut entry, file) = sample();
    let folder = folder_of_one_case("missing", &entry, None);
    let (tally, lines) = run_all(&folder, &engine);
    assert_eq!((tally.passed, tally.failed, tally.skipped), (0, 1, 0));
    assert!(lines[0].contains("lstm_ragged_bidirectional"), "{lines:?}");
    entry["attributes"]["no_such_feature"] = 1.into();
    let folder = folder_of_one_case("unknown", &entry, Some(&file));
    let (tally, lines) = run_all(&folder, &engine);
    assert_eq!((tally.passed, tally.failed, tally.skipped), (0, 0, 1));
    assert!(lines[0].contains("no_such_feature"), "{lines:?}");
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("goldens-empty");
    std::fs::create_dir_all(&empty).unwrap();
    let (tally, lines) = run_all(&empty, &engine);
    assert_eq!(tally.failed, 1, "{lines:?}");
}
