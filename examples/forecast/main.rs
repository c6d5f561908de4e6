//! Forecasts a real series: a stacked LSTM or GRU with a linear head, trained on the device, compared with the forecasts
//! that need no learning, then run with the same weights on every device there is.
//!
//! `cargo run --release --example forecast` learns 44 years of weekly CO2 at Mauna Loa; `-- --help` lists the options.

mod compare;
mod metrics;
mod model;
mod options;
mod plot;
mod train;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use example_support::devices::Devices;
use example_support::memory::mebibytes;
use example_support::series::Series;
use wgpu_rnn::model::{Model, Predictor};

use metrics::Scores;
use options::Options;

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forecast: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::checked()?;
    let series = Series::load(&options.source())?;
    println!("data    {}", series.about);
    let windows = [0, 1, 2].map(|part| series.starts(part).len());
    println!(
        "target  `{}`, {} steps from {} before, a season is {} steps",
        series.name, series.horizon, series.window, series.season
    );
    println!(
        "windows {} training, {} validation, {} test",
        windows[0], windows[1], windows[2]
    );
    let devices = Devices::find(options.device)?;
    println!("device  {}: {}", devices.training.name(), devices.reason);

    let model = model::model(&options, &series)?;
    println!(
        "model   {:?}, {} layers of {} units, linear head: {} parameters",
        options.cell,
        options.layers,
        options.hidden,
        model.layout().len()
    );
    let start = Instant::now();
    let trained = train::train(&model, &series, &options, &devices.training)?;
    println!(
        "trained in {:.1} s ({:.0} windows/s, {:.1} MiB on the device); best epoch on validation: {}",
        start.elapsed().as_secs_f64(),
        trained.windows_per_second,
        mebibytes(trained.bytes),
        trained.epoch
    );
    report(&model, &series, &trained, &devices, &options)
}

/// The scores on both held-out parts, the plot, and the comparison of devices.
fn report(
    model: &Model,
    series: &Series,
    trained: &train::Trained,
    devices: &Devices,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let mut predictor = Predictor::new(devices.training.clone(), model, &trained.parameters)?;
    let starts: Vec<usize> = series.starts(2).collect();
    let outputs = train::forecast(&mut predictor, series, &starts)?;
    let forecasts: Vec<Vec<f64>> = starts
        .iter()
        .zip(&outputs)
        .map(|(&start, output)| series.original(start, output))
        .collect();
    let test = Scores::of(series, &starts, |at, _| forecasts[at].clone());

    println!("\n{:<22} {:>34} {:>34}", "", "validation", "test");
    let validation: Vec<usize> = series.starts(1).collect();
    let naive = |starts: &[usize]| {
        [
            Scores::of(series, starts, |_, start| series.last_value(start)),
            Scores::of(series, starts, |_, start| series.seasonal_naive(start)),
        ]
    };
    let (naive_validation, naive_test) = (naive(&validation), naive(&starts));
    let lines = [
        ("network", trained.validation, test),
        ("last value", naive_validation[0], naive_test[0]),
        ("seasonal naive", naive_validation[1], naive_test[1]),
    ];
    for (name, validation, test) in lines {
        let [validation, test] = [validation, test].map(|scores| scores.to_string());
        println!("{name:<22} {validation:>34} {test:>34}");
    }
    println!(
        "network, in standard deviations of the training part: test MAE {:.4}, MSE {:.4}",
        test.mae / series.deviation,
        (test.rmse / series.deviation).powi(2)
    );
    let beaten = [(trained.validation, naive_validation), (test, naive_test)]
        .iter()
        .all(|(network, naive)| naive.iter().all(|naive| network.beats(naive)));
    println!(
        "The network {} both naive forecasts on validation and test.\n",
        if beaten { "beats" } else { "does NOT beat" }
    );

    let lines = compare::compare(model, series, &trained.parameters, &devices.all)?;
    compare::print(&lines, series.window);
    let path = plot::draw(series, &starts, &forecasts, &options.out)?;
    println!("\nplot    {}", path.display());
    Ok(())
}
