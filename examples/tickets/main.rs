//! Foresees which support tickets escalate within the next 4 hours: a two-layer bidirectional GRU on streams of events that
//! are made up, so that the best reachable AUC is known, against gradient-boosted trees on aggregates of the same tickets.
//!
//! `cargo run --release --example tickets` takes some minutes on two cores; `-- --help` lists the options.

mod drift;
mod measure;
mod model;
mod options;
mod report;
mod task;
mod trees;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use example_support::devices;
use example_support::tickets::{dataset, event, generator, rule};
use wgpu_rnn::checkpoint::Checkpoint;
use wgpu_rnn::train::{End, Interrupt, ProgressBar, Trainer, TrainerOptions};

use dataset::{Dataset, labels};
use devices::Devices;
use model::{ModelOptions, forecaster};
use options::Options;
use report::Judged;
use task::Forecasting;

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
    let device = &devices.training;
    println!("device  {}: {}", device.name(), devices.reason);
    let model = forecaster(ModelOptions {
        entries: data.encoder.vocabulary.len(),
        hidden: options.hidden(),
        dropout: options.dropout,
        positive_weight: options.positive_weight,
        truncation: (options.truncation > 0).then_some(options.truncation),
        prevalence: prevalence(&data)?,
        seed: options.seed,
    })?;
    println!("{}", model.summary(None)?);
    let training = options.training();
    let task = Forecasting::new(&data, &training)?;
    let trainer_options = TrainerOptions {
        folder: Some(options.out.clone()),
        ..task.options(&training)
    };
    let mut trainer = Trainer::new(device.clone(), &model, task, trainer_options)?;
    let end = train(&mut trainer, options.resume)?;
    report::training(trainer.standing(), device.as_ref());
    let folder = options.out.display();
    println!("training {folder}/training.{{csv,jsonl}}, {folder}/learning_curve.svg");
    if end == End::Interrupted {
        println!("interrupted; --resume goes on from {folder}/last.safetensors");
        return Ok(());
    }
    let best = options.out.join("best.safetensors");
    let judged = Judged {
        data: &data,
        model: &model,
        hidden: options.hidden(),
        positive_weight: options.positive_weight,
        parameters: &Checkpoint::load(&best)?.parameters_of(&model)?,
        devices: &devices.all,
        device,
    };
    judge(&judged, &options, &best)?;
    if options.drift {
        drift::show(&data, &mut judged.predictor(device)?, options.seed)?;
    }
    println!("all of it took {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Share of the training part that escalated.
fn prevalence(data: &Dataset) -> Result<f64, Box<dyn Error>> {
    let labels = labels(&data.part(data.split.training()));
    let share = f64::from(labels.iter().sum::<f32>()) / labels.len() as f64;
    match share > 0.0 {
        true => Ok(share),
        false => Err("no ticket of the training part escalated: make up more".into()),
    }
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

/// Trains until the end or Ctrl-C.
fn train(trainer: &mut Trainer<Forecasting<'_>>, resume: bool) -> Result<End, Box<dyn Error>> {
    let interrupt = Interrupt::default();
    let handler = interrupt.clone();
    ctrlc::set_handler(move || handler.set())?;
    if resume {
        trainer.resume()?;
        println!("resumed after step {}", trainer.position().step);
    }
    Ok(trainer.run(&interrupt, &mut ProgressBar::default())?)
}

/// Compares with the best reachable and with the trees, measures, plots, writes the card.
fn judge(judged: &Judged<'_>, options: &Options, best: &Path) -> Result<(), Box<dyn Error>> {
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
    report::batching(judged, options.token_budget)?;
    report::plot(&scores, &options.out)?;
    report::write_card(judged, &scores, &latency, best)?;
    Ok(())
}
