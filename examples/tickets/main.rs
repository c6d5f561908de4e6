//! Foresees which support tickets escalate.

mod dataset;
mod devices;
mod event;
mod generator;
mod model;
mod options;
mod progress;
mod rule;
mod train;
mod trees;

use std::error::Error;
use std::time::Instant;
use clap::Parser;
use wgpu_rnn::metrics::BinaryScores;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let options = options::Options::parse();
    let data = dataset::Dataset::new(generator::tickets(options.tickets(), options.seed))?;
    println!("{}", data.split.hold_out_report());
    let n = data.tickets.len();
    println!("p {:.4} labels {:.4}", data.tickets.iter().map(|t| t.probability).sum::<f64>() / n as f64, data.tickets.iter().filter(|t| t.escalated).count() as f64 / n as f64);
    let devices = devices::Devices::find(options.device)?;
    let model = model::Model::new(model::ModelOptions { entries: data.encoder.vocabulary.len(), hidden: options.hidden(), dropout: options.dropout, positive_weight: options.positive_weight })?;
    let hold = data.part(data.split.hold_out());
    let y = dataset::labels(&hold);
    let auc = |s: &[f32]| BinaryScores::new(&y, s).unwrap().auc().unwrap();
    let best = auc(&hold.iter().map(|t| t.probability as f32).collect::<Vec<_>>());
    let all: Vec<&generator::Ticket> = data.tickets.iter().collect();
    println!("best {best:.4} all {:.4}", BinaryScores::new(&dataset::labels(&all), &all.iter().map(|t| t.probability as f32).collect::<Vec<_>>())?.auc()?);
    if std::env::var("TREES").is_ok() {
        let t = Instant::now();
        let trees = trees::forecast(&data.part(data.split.training()), &hold, 1)?;
        println!("trees {:.4} {} {} {:?}", auc(&trees.scores), trees.trees, trees.features, t.elapsed());
    }
    let mut training = train::Training::new(devices.training.as_ref(), &model, &data, options.training(), wgpu_rnn::train::Interrupt::default())?;
    training.run(|t, best_epoch| {
        let l = train::forecast(t.model, t.device, (&t.weights.parameters, &data.encoder), &hold)?;
        println!("hold {:.4} share {:.4} {best_epoch} rows/s {:.0}", auc(&l), (auc(&l) - 0.5) / (best - 0.5), t.standing.tokens as f64 / t.standing.seconds);
        Ok(())
    })?;
    Ok(())
}
