//! The adding problem: each cell at each length, with the same number of units, steps, sequences and the same optimizer.
//!
//! Each cell begins as is known to serve it best: orthogonal recurrent weights for all, and for the gated cells biases that
//! remember for up to as many steps as the sequences have ([`Initial::memory`](wgpu_rnn::Initial::memory)). Gradients are clipped at norm 1.
//! Learning rates are tried from large to small until one brings the error below the bound, so that a cell that fails
//! has had more tries than the others; what it came nearest with is shown. `--steps` gives more: with 10,000 steps instead of
//! 1,200 the Elman network comes to 0.016 at a length of 100, and stays where it was, beside the baseline, at 200 and 300.

use std::error::Error;

use wgpu_rnn::config::Cell;

use crate::adding::{Adding, BASELINE, STEPS};
use crate::choice::{CELLS, Choice, Extra, cell_name};
use crate::model::model;
use crate::plots;
use crate::problem::Problem;
use crate::study::Study;
use crate::table::Table;

/// Units of the one layer.
const UNITS: usize = 32;
/// Adam's step sizes, in the order in which they are tried.
const LEARNING_RATES: [f64; 3] = [0.01, 0.003, 0.001];
/// A mean squared error below which a cell has learned it, and training ends: a sixteenth of the baseline.
pub(crate) const LEARNED: f64 = 0.01;

/// How a cell did at a length.
#[derive(Debug)]
pub(crate) struct Learned {
    pub(crate) cell: Cell,
    pub(crate) length: usize,
    pub(crate) learning_rate: f64,
    /// Mean squared error, on the same sequences, of who always says 1.
    pub(crate) baseline: f64,
    /// Mean squared error after every [`STEPS`] steps.
    pub(crate) errors: Vec<f64>,
    pub(crate) tokens_per_second: f64,
    pub(crate) seconds: f64,
}

impl Learned {
    /// The least error.
    fn best(&self) -> f64 {
        self.errors.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Steps until the error was below the bound, if it was.
    fn steps(&self) -> Option<u64> {
        let epoch = self.errors.iter().position(|&error| error < LEARNED)?;
        Some((epoch as u64 + 1) * STEPS)
    }
}

/// All cells at all lengths; writes the table and the plot, of what is finished if interrupted.
pub(crate) fn run(study: &Study<'_>) -> Result<(), Box<dyn Error>> {
    let options = study.options;
    println!(
        "\n{:<8}mean squared error; who always says 1 has {BASELINE:.4}; {UNITS} units, at most {} steps, learned below {LEARNED}",
        "adding",
        options.steps()
    );
    let mut all = Vec::new();
    let runs = { options.lengths().into_iter() }
        .flat_map(|length| CELLS.into_iter().map(move |cell| (length, cell)));
    for (length, cell) in runs {
        let Some(learned) = learn(study, length, cell)? else {
            break;
        };
        println!(
            "{length:>6} steps, {:<6} {:.4}{}, {:.0} tokens/s, {:.1} s at a rate of {}",
            cell_name(cell),
            learned.best(),
            match learned.steps() {
                Some(steps) => format!(", learned in {steps} steps"),
                None => ", not learned".to_owned(),
            },
            learned.tokens_per_second,
            learned.seconds,
            learned.learning_rate
        );
        all.push(learned);
    }
    if all.is_empty() {
        // Interrupted at once: what an earlier run left stays.
        return Ok(());
    }
    let table = table(&all, options.steps());
    println!("\n{}", table.markdown());
    table.save(&options.out, "adding")?;
    plots::learning_curves(&options.out.join("adding.svg"), &all)?;
    Ok(())
}

/// One cell at one length, with the learning rate that served it best; `None` if interrupted.
fn learn(study: &Study<'_>, length: usize, cell: Cell) -> wgpu_rnn::Result<Option<Learned>> {
    let mut best: Option<Learned> = None;
    for learning_rate in LEARNING_RATES {
        let Some(learned) = try_rate(study, (length, cell), learning_rate)? else {
            return Ok(None);
        };
        let is_best = { best.as_ref() }.is_none_or(|best| learned.best() < best.best());
        if is_best {
            best = Some(learned);
        }
        if best.as_ref().is_some_and(|best| best.steps().is_some()) {
            break;
        }
    }
    Ok(best)
}

/// One run; `None` if interrupted.
fn try_rate(
    study: &Study<'_>,
    (length, cell): (usize, Cell),
    learning_rate: f64,
) -> wgpu_rnn::Result<Option<Learned>> {
    let how = (study.options.steps(), learning_rate);
    let problem = Adding::new(length, how, study.options.seed);
    let choice = Choice {
        cell,
        directions: 1,
        units: UNITS,
        layers: 1,
        extra: Extra::None,
    };
    let model = model(&choice, &problem.ends())?;
    let baselines = problem.baselines()?;
    let trained = study.train(&problem, &model, None, Some(LEARNED))?;
    Ok(trained.map(|trained| Learned {
        cell,
        length,
        learning_rate,
        baseline: baselines[0].1[0],
        errors: { trained.standing.epochs.iter() }
            .map(|epoch| epoch.metrics[0])
            .collect(),
        tokens_per_second: trained.standing.tokens_per_second().unwrap_or(0.0),
        seconds: trained.standing.seconds,
    }))
}

/// A row for each length, and for each cell its least error, the steps that it took, and its speed.
pub(crate) fn table(all: &[Learned], most: u64) -> Table {
    let mut columns = vec!["length".to_owned(), "always 1, MSE".to_owned()];
    for cell in CELLS.map(cell_name) {
        columns.push(format!("{cell}, MSE"));
        columns.push(format!("{cell}, steps to {LEARNED}"));
    }
    let title = format!("the adding problem: mean squared error (always 1: {BASELINE:.4})");
    let mut table = Table::new(title, &columns);
    for of_length in all.chunk_by(|a, b| a.length == b.length) {
        let Learned {
            length, baseline, ..
        } = of_length[0];
        let mut row = vec![length.to_string(), format!("{baseline:.4}")];
        for cell in CELLS {
            let found = of_length.iter().find(|learned| learned.cell == cell);
            row.extend(match found {
                None => [String::new(), String::new()],
                Some(learned) => [
                    format!("{:.4}", learned.best()),
                    match learned.steps() {
                        Some(steps) => steps.to_string(),
                        None => format!("not in {most}"),
                    },
                ],
            });
        }
        table.push(row);
    }
    table
}
