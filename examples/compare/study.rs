//! Trains each network of a design on one problem and measures it.

use std::error::Error;
use std::sync::Arc;

use example_support::memory::mebibytes;
use wgpu_rnn::metrics::Latency;
use wgpu_rnn::model::{Model, Predictor};
use wgpu_rnn::train::{Interrupt, Standing};
use wgpu_rnn::{Device, Result};

use crate::choice::{Choice, Extra, design};
use crate::model::model;
use crate::options::Options;
use crate::plots;
use crate::predict::{Stopwatch, latencies, long_sample, predict};
use crate::problem::{Part, Problem};
use crate::table::Table;
use crate::training::Trained;

/// Where and how networks are compared.
#[derive(Debug)]
pub(crate) struct Study<'a> {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) options: &'a Options,
    /// Ctrl-C.
    pub(crate) interrupt: &'a Interrupt,
}

/// One network, trained and judged.
#[derive(Debug)]
pub(crate) struct Judged {
    choice: Choice,
    /// On the hold-out.
    metrics: [f64; 2],
    model: Model,
    trained: Trained,
}

/// One network, measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) choice: Choice,
    /// On the hold-out.
    pub(crate) metrics: [f64; 2],
    pub(crate) latency: Latency,
    pub(crate) parameters: usize,
    pub(crate) standing: Standing,
}

impl Study<'_> {
    /// Compares all networks of the design on `problem`; writes the table and the plot, of what is finished if interrupted.
    pub(crate) fn run<P: Problem>(&self, problem: &P) -> std::result::Result<(), Box<dyn Error>> {
        println!("\n{:<8}{}", problem.name(), problem.about());
        let choices = design(&self.options.widths(), self.options.layers());
        let mut all = Vec::new();
        for (number, choice) in choices.iter().enumerate() {
            let Some(judged) = self.judge(problem, choice)? else {
                break;
            };
            println!(
                "{:>3} of {}: {:<20} {} {:.4}, {:.1} s",
                number + 1,
                choices.len(),
                slug(choice),
                problem.metrics()[0],
                judged.metrics[0],
                judged.trained.standing.seconds
            );
            all.push(judged);
        }
        if all.is_empty() {
            // Interrupted at once: what an earlier run left stays.
            return Ok(());
        }
        let all = measure(problem, all)?;
        let table = table(problem, &all)?;
        println!("\n{}", table.markdown());
        println!("        no layer norm for Elman: a configuration with both is refused");
        table.save(&self.options.out, problem.name())?;
        let plot = self.options.out.join(format!("{}.svg", problem.name()));
        plots::quality_and_latency(&plot, problem, &all)?;
        Ok(())
    }

    /// Trains one network; `None` if interrupted.
    fn judge<P: Problem>(&self, problem: &P, choice: &Choice) -> Result<Option<Judged>> {
        let model = model(choice, &problem.ends())?;
        let folder = self.options.out.join(problem.name()).join(slug(choice));
        let Some(trained) = self.train(problem, &model, Some(folder), None)? else {
            return Ok(None);
        };
        let hold_out = problem.part(Part::HoldOut);
        let mut predictor = Predictor::new(self.device.clone(), &model, &trained.parameters)?;
        let predictions = predict(problem, &mut predictor, hold_out)?;
        Ok(Some(Judged {
            choice: *choice,
            metrics: problem.judge(hold_out, &predictions)?,
            model,
            trained,
        }))
    }
}

/// Adds how long a prediction takes.
fn measure<P: Problem>(problem: &P, all: Vec<Judged>) -> Result<Vec<Measured>> {
    let stopwatch =
        |judged: &Judged| Stopwatch::new(problem, &judged.model, &judged.trained.parameters);
    let stopwatches = all.iter().map(stopwatch).collect::<Result<_>>()?;
    let latencies = latencies(problem, stopwatches)?.into_iter();
    let measured = latencies.zip(all).map(|(latency, judged)| Measured {
        choice: judged.choice,
        metrics: judged.metrics,
        latency,
        parameters: judged.model.layout().len(),
        standing: judged.trained.standing,
    });
    Ok(measured.collect())
}

/// A network as the name of a folder.
fn slug(choice: &Choice) -> String {
    let extra = match choice.extra {
        Extra::None => "",
        Extra::Dropout => "-dropout",
        Extra::LayerNorm => "-norm",
    };
    let directions = if choice.directions == 2 { "-both" } else { "" };
    let cell = choice.cell_name().to_lowercase();
    format!("{cell}-{}{directions}{extra}", choice.units)
}

impl Measured {
    /// Latency of one prediction at the 95th percentile.
    pub(crate) fn microseconds(&self) -> f64 {
        self.latency.p95.as_secs_f64() * 1e6
    }
}

fn table<P: Problem>(problem: &P, all: &[Measured]) -> Result<Table> {
    let [first, second] = problem.metrics();
    let columns = [
        "cell",
        "directions",
        "units",
        "with",
        first,
        second,
        "training, tokens/s",
        "p95 latency, us",
        "plan, MiB",
        "parameters",
        "training, s",
    ];
    let steps = problem.lengths(&[long_sample(problem)])[0];
    let title = format!(
        "{}; p95 latency of one prediction from {steps} steps on one CPU thread",
        problem.about()
    );
    let mut table = Table::new(title, &columns);
    for measured in all {
        let choice = measured.choice;
        let standing = &measured.standing;
        table.push([
            choice.cell_name().to_owned(),
            choice.directions.to_string(),
            choice.units.to_string(),
            choice.extra_name().to_owned(),
            format!("{:.4}", measured.metrics[0]),
            format!("{:.4}", measured.metrics[1]),
            format!("{:.0}", standing.tokens_per_second().unwrap_or(0.0)),
            format!("{:.0}", measured.microseconds()),
            format!("{:.1}", mebibytes(standing.plan_bytes)),
            measured.parameters.to_string(),
            format!("{:.1}", standing.seconds),
        ]);
    }
    for (name, metrics) in problem.baselines()? {
        let mut row = vec![name.to_owned(), String::new(), String::new(), String::new()];
        row.extend(metrics.map(|metric| format!("{metric:.4}")));
        table.push(row);
    }
    Ok(table)
}
