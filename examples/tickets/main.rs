//! Foresees which support tickets escalate within the next 4 hours: a two-layer bidirectional GRU on streams of events that
//! are made up, so that the best reachable AUC is known, against gradient-boosted trees on aggregates of the same tickets.
//!
//! `cargo run --release --example tickets -- --quick` takes minutes on a laptop; `-- --help` lists the options.

mod dataset;
#[path = "../forecast/devices.rs"]
mod devices;
mod drift;
mod event;
mod generator;
mod measure;
mod model;
mod options;
mod plots;
mod progress;
mod report;
mod rule;
mod saved;
#[cfg(test)]
mod tests;
mod train;
mod trees;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use wgpu_rnn::checkpoint::Checkpoint;
use wgpu_rnn::train::Interrupt;

use dataset::Dataset;
use devices::Devices;
use model::{Model, ModelOptions};
use options::Options;
use report::Judged;
use train::{End, Standing, Training};

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tickets: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::checked()?;
    let start = Instant::now();
    std::fs::create_dir_all(&options.out)
        .map_err(|error| format!("cannot make the folder {}: {error}", options.out.display()))?;
    let data = Dataset::new(generator::tickets(options.tickets(), options.seed))?;
    describe(&data);
    let devices = Devices::find(options.device)?;
    let device = devices.training.as_ref();
    println!("device  {}: {}", device.name(), devices.reason);
    let model = Model::new(ModelOptions {
        entries: data.encoder.vocabulary.len(),
        hidden: options.hidden(),
        dropout: options.dropout,
        positive_weight: options.positive_weight,
    })?;
    println!(
        "model   embedding, 2 GRU layers of {} units in both directions, linear head: {} parameters",
        options.hidden(),
        model.len()
    );
    let (end, standing) = train(&options, &data, &model, &devices)?;
    report::training(&standing, device);
    if end == End::Interrupted {
        println!(
            "interrupted; --resume goes on from {}",
            options.last().display()
        );
        return Ok(());
    }
    let best = Checkpoint::load(&options.best())?;
    let parameters = saved::parameters(&best, &model, &data.encoder)?;
    let judged = Judged {
        data: &data,
        model: &model,
        parameters: &parameters,
        devices: &devices.all,
        device,
    };
    judge(&judged, &standing, &options)?;
    if options.drift {
        let buffer = measure::upload(device, &parameters)?;
        drift::show(&data, &model, device, &buffer, options.seed)?;
    }
    println!("all of it took {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// What the data are.
fn describe(data: &Dataset) {
    let mut lengths: Vec<usize> = data.tickets.iter().map(|t| t.steps.len()).collect();
    lengths.sort_unstable();
    let percent = |sum: f64| 100.0 * sum / data.tickets.len() as f64;
    let escalated = data.tickets.iter().filter(|t| t.escalated).count();
    let expected: f64 = data.tickets.iter().map(|t| t.probability).sum();
    println!(
        "data    {} made-up tickets, median {} events, 95th percentile {}; {:.2} % escalated ({:.2} % expected)",
        lengths.len(),
        lengths[lengths.len() / 2],
        lengths[lengths.len() * 95 / 100],
        percent(escalated as f64),
        percent(expected),
    );
    println!("split   {}", data.split.hold_out_report());
}

/// Trains, and saves the last and the best epoch.
fn train(
    options: &Options,
    data: &Dataset,
    model: &Model,
    devices: &Devices,
) -> Result<(End, Standing), Box<dyn Error>> {
    let interrupt = Interrupt::default();
    let handler = interrupt.clone();
    ctrlc::set_handler(move || handler.set())?;
    let device = devices.training.as_ref();
    let mut training = Training::new(device, model, data, options.training(), interrupt)?;
    if options.resume {
        saved::resume(&mut training, &data.encoder, &options.last())?;
        println!("resumed after step {}", training.standing.step);
    }
    let end = training.run(|training, is_best| {
        if is_best {
            saved::save(training, &data.encoder, &options.best())?;
        }
        saved::save(training, &data.encoder, &options.last())
    })?;
    Ok((end, training.standing))
}

/// Compares with the best reachable and with the trees, measures, plots, writes the card.
fn judge(
    judged: &Judged<'_>,
    standing: &Standing,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let data = judged.data;
    let [training, validation, hold_out] = [
        data.split.training(),
        data.split.validation(),
        data.split.hold_out(),
    ]
    .map(|part| data.part(part));
    let start = Instant::now();
    let trees = trees::forecast([&training, &validation], &hold_out, options.seed)?;
    println!(
        "trees   {} of them on {} aggregates, {:.0} s",
        trees.trees,
        trees.features,
        start.elapsed().as_secs_f64()
    );
    let scores = report::score(judged, &trees)?;
    let latency = report::costs(judged)?;
    report::plot(&scores, &standing.epochs, &options.out)?;
    report::write_card(judged, &scores, &latency, &options.best())?;
    Ok(())
}
