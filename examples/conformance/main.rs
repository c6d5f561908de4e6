//! Runs conformance suites: folders of a `manifest.json` and one safetensors file for each case, with inputs, weights,
//! expected outputs and expected gradients of other implementations.
//!
//! For each failure it prints the case, the tensor, the largest difference and the tolerance, for each refusal the feature
//! that is not supported, and last `N passed, N failed, N skipped` alone on a line. It exits with 1 after a failure, or
//! when there was no case.

mod activation;
mod compare;
mod convert;
mod device;
mod manifest;
mod run;
mod tensor;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use device::{DeviceName, Engine};
use manifest::Suite;

/// Checks this crate against values of other implementations.
#[derive(Debug, Parser)]
struct Options {
    /// Suite folders (with a manifest.json), or folders of such folders.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// What computes.
    #[arg(long, value_enum, default_value_t = DeviceName::Reference)]
    device: DeviceName,

    /// Only the suite of this name.
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,

    /// Only the cases of this name.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
}

/// Why a case did not run to its end.
#[derive(Debug)]
enum Stop {
    /// It needs a feature that there is not.
    Unsupported(String),
    /// The files do not say what they should, or the device failed.
    Broken(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(formatter, "unsupported: {what}"),
            Self::Broken(what) => formatter.write_str(what),
        }
    }
}

impl From<wgpu_rnn::Error> for Stop {
    fn from(error: wgpu_rnn::Error) -> Self {
        match error {
            wgpu_rnn::Error::Option { .. } => Self::Unsupported(error.to_string()),
            error => Self::Broken(error.to_string()),
        }
    }
}

/// How many cases ended in which way.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn main() -> ExitCode {
    env_logger::init();
    let options = Options::parse();
    let engine = match Engine::open(options.device) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("device: {}", engine.name());
    let mut tally = Tally::default();
    for folder in &options.folders {
        match suite_folders(folder) {
            Ok(folders) => {
                for folder in folders {
                    run_suite(&folder, &options, &engine, &mut tally);
                }
            }
            Err(error) => {
                println!("FAIL {}: {error}", folder.display());
                tally.failed += 1;
            }
        }
    }
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    if passed + failed + skipped == 0 {
        println!("no case was found");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || passed + skipped == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// `folder` itself if it is a suite, else the suites in it, by name.
fn suite_folders(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if folder.join("manifest.json").is_file() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("manifest.json").is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return Err("no manifest.json here nor one folder below".to_owned());
    }
    Ok(folders)
}

fn run_suite(folder: &Path, options: &Options, engine: &Engine, tally: &mut Tally) {
    let folder_name = folder.file_name().map(|name| name.to_string_lossy());
    let folder_name = folder_name.as_deref().unwrap_or("?");
    let suite = match Suite::read(folder, folder_name) {
        Ok(suite) => suite,
        Err(error) => {
            println!("FAIL {folder_name}: manifest.json: {error}");
            tally.failed += 1;
            return;
        }
    };
    let wanted = options.suite.as_deref();
    if wanted.is_some_and(|wanted| wanted != suite.name && wanted != folder_name) {
        return;
    }
    for case in suite.cases() {
        if options.case.as_ref().is_some_and(|name| name != case.name) {
            continue;
        }
        let label = format!("{}/{}", suite.name, case.name);
        match run::run(&case, folder, engine) {
            Ok(differences) if differences.is_empty() => tally.passed += 1,
            Ok(differences) => {
                tally.failed += 1;
                for difference in differences {
                    println!("FAIL {label} {difference}");
                }
            }
            Err(stop @ Stop::Unsupported(_)) => {
                tally.skipped += 1;
                println!("SKIP {label}: {stop}");
            }
            Err(stop) => {
                tally.failed += 1;
                println!("FAIL {label}: {stop}");
            }
        }
    }
}
