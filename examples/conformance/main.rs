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
mod suite;
mod tensor;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use device::{DeviceName, Engine};
use suite::{Selection, Stop, Tally};
use wgpu_rnn::cpu::Instructions;

/// Checks this crate against values of other implementations.
#[derive(Debug, Parser)]
struct Options {
    /// Suite folders (with a manifest.json), or folders of such folders.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// What computes.
    #[arg(long, value_enum, default_value_t = DeviceName::Reference)]
    device: DeviceName,

    /// Instruction set of the CPU device: widest, avx512, avx2, neon, simd128 or scalar.
    #[arg(long, value_name = "SET", default_value = "widest")]
    instructions: Instructions,

    /// Only the suite of this name.
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,

    /// Only the cases of this name.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
}

fn main() -> ExitCode {
    env_logger::init();
    let options = Options::parse();
    let engine = match Engine::open(options.device, options.instructions) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("device: {}", engine.name());
    let selection = Selection {
        suite: options.suite.as_deref(),
        case: options.case.as_deref(),
    };
    let mut tally = Tally::default();
    for folder in &options.folders {
        let print = &mut |line: String| println!("{line}");
        suite::run_folder(folder, &selection, &engine, (&mut tally, print));
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
