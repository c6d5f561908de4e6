//! The baseline: gradient-boosted trees on aggregates of a ticket, as good ones as are usual.

use std::error::Error;

use perpetual::objective::Objective;
use perpetual::{Matrix, PerpetualBooster};

use wgpu_rnn::metrics::BinaryScores;

use crate::dataset::labels;
use crate::event::Event;
use crate::generator::Ticket;
use crate::rule::GAP_HOURS;

/// How many last events the trees see one by one.
const LAST_EVENTS: usize = 3;

/// Budgets that are tried, the library's one setting; the best on the validation part counts, for its own stopping
/// rule ends very differently from one to the other.
const BUDGETS: [f32; 2] = [0.5, 1.0];

/// Rounds without progress that it bears.
const PATIENCE: usize = 10;

/// Seconds that a budget may take.
const SECONDS: f32 = 60.0;

/// The trees' forecasts.
#[derive(Debug)]
pub(crate) struct Trees {
    /// Log-odds, one a ticket.
    pub(crate) scores: Vec<f32>,
    pub(crate) trees: usize,
    pub(crate) features: usize,
}

/// Trains on the training part, chooses by the validation part, and forecasts `tickets`.
pub(crate) fn forecast(
    [training, validation]: [&[&Ticket]; 2],
    tickets: &[&Ticket],
    seed: u64,
) -> Result<Trees, Box<dyn Error>> {
    let (x, features) = columns(training);
    let y: Vec<f64> = labels(training).into_iter().map(f64::from).collect();
    let mut best: Option<(f64, PerpetualBooster)> = None;
    for budget in BUDGETS {
        let mut booster = PerpetualBooster::default()
            .set_objective(Objective::LogLoss)
            .set_budget(budget)
            .set_stopping_rounds(Some(PATIENCE))
            .set_timeout(Some(SECONDS))
            .set_seed(seed);
        booster.fit(&Matrix::new(&x, training.len(), features), &y, None, None)?;
        let scores = predict(&booster, validation);
        let auc = BinaryScores::new(&labels(validation), &scores)?.auc()?;
        if best.as_ref().is_none_or(|(best, _)| auc > *best) {
            best = Some((auc, booster));
        }
    }
    let (_, booster) = best.ok_or("no budget was tried")?;
    Ok(Trees {
        scores: predict(&booster, tickets),
        trees: booster.get_prediction_trees().len(),
        features,
    })
}

fn predict(booster: &PerpetualBooster, tickets: &[&Ticket]) -> Vec<f32> {
    let (x, features) = columns(tickets);
    let scores = booster.predict(&Matrix::new(&x, tickets.len(), features), true);
    scores.into_iter().map(|score| score as f32).collect()
}

/// Aggregates of each ticket, column by column, and the number of columns.
fn columns(tickets: &[&Ticket]) -> (Vec<f64>, usize) {
    let rows: Vec<Vec<f64>> = tickets.iter().map(|ticket| aggregates(ticket)).collect();
    let features = rows.first().map_or(0, Vec::len);
    let column = |feature: usize| rows.iter().map(move |row| row[feature]);
    ((0..features).flat_map(column).collect(), features)
}

/// Length, times, gaps and priorities; of each type of event its count, its share, and the events and hours since it last
/// happened; and the last events themselves. NaN is missing.
fn aggregates(ticket: &Ticket) -> Vec<f64> {
    let steps = &ticket.steps;
    let (last, length) = (ticket.last(), steps.len() as f64);
    let hours = f64::from(last.hours);
    let gaps = || steps.iter().map(|step| f64::from(step.gap));
    let priorities = || steps.iter().map(|step| f64::from(step.priority));
    let mut values = vec![
        length,
        hours,
        hours / length,
        f64::from(last.gap),
        gaps().fold(0.0, f64::max),
        gaps().filter(|&gap| gap >= GAP_HOURS).count() as f64,
        f64::from(last.priority),
        priorities().sum::<f64>() / length,
        priorities().fold(0.0, f64::max),
        f64::from(steps[0].priority),
    ];
    for event in Event::ALL {
        let count = steps.iter().filter(|step| step.event == event).count() as f64;
        let latest = steps.iter().rposition(|step| step.event == event);
        let since = latest.map_or([f64::NAN; 2], |at| {
            let events = (steps.len() - 1 - at) as f64;
            [events, hours - f64::from(steps[at].hours)]
        });
        values.extend([count, count / length, since[0], since[1]]);
    }
    for back in 1..=LAST_EVENTS {
        let event = steps.len().checked_sub(back).map(|at| steps[at].event);
        let is = |of| f64::from(u8::from(event == Some(of)));
        values.extend(Event::ALL.map(is));
    }
    values
}
