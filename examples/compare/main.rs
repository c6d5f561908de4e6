//! Which network to choose: Elman, LSTM and GRU, in one and two directions, several widths, with dropout and layer norm, on
//! made-up tickets and on a real series, judged by quality, training speed, latency and memory together; and on the adding
//! problem, where what lies far back decides.
//!
//! `cargo run --release --example compare` takes minutes on a laptop; `-- --help` lists the options.
//!
//! | file | what |
//! |---|---|
//! | `choice` | the networks that are compared |
//! | `problem` | what they are compared on: a trait |
//! | `tickets`, `forecasts`, `adding` | its implementations |
//! | `model`, `task` | any of the networks for any of the problems, and a problem as a task of the library's trainer |
//! | `training`, `quiet` | a run of the trainer, and what shows how far it is |
//! | `predict` | predictions, and how long one takes |
//! | `study` | trains each network of a design and measures it |
//! | `memory` | the adding problem, cell by cell and length by length |
//! | `table`, `plots` | what comes out |

mod adding;
mod choice;
mod forecasts;
mod memory;
mod model;
mod options;
mod plots;
mod predict;
mod problem;
mod quiet;
mod study;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod tickets;
mod training;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use example_support::devices::Devices;
use wgpu_rnn::train::Interrupt;

use forecasts::Forecasts;
use options::{Options, Subject};
use study::Study;
use tickets::Tickets;

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::checked()?;
    let start = Instant::now();
    std::fs::create_dir_all(&options.out)
        .map_err(|error| format!("cannot make the folder {}: {error}", options.out.display()))?;
    let devices = Devices::find(options.device)?;
    let device = devices.training.clone();
    println!("device  {}: {}", device.name(), devices.reason);
    let others = devices.all.iter().map(|device| device.name());
    log::info!("devices: {}", others.collect::<Vec<String>>().join("; "));
    let interrupt = Interrupt::default();
    let handler = interrupt.clone();
    ctrlc::set_handler(move || handler.set())?;
    let study = Study {
        device,
        options: &options,
        interrupt: &interrupt,
    };
    for subject in options.subjects() {
        if interrupt.is_set() {
            break;
        }
        let start = Instant::now();
        match subject {
            Subject::Tickets => study.run(&Tickets::new(&options)?)?,
            Subject::Series => study.run(&Forecasts::new(&options)?)?,
            Subject::Adding => memory::run(&study)?,
        }
        println!("        {:.0} s", start.elapsed().as_secs_f64());
    }
    if interrupt.is_set() {
        println!(
            "interrupted: what was finished is in {}",
            options.out.display()
        );
    } else {
        println!(
            "all of it took {:.0} s; tables and plots are in {}",
            start.elapsed().as_secs_f64(),
            options.out.display()
        );
    }
    Ok(())
}
