//! The baseline: gradient-boosted trees on aggregates of a ticket, as good ones as are usual.

use std::error::Error;

use perpetual::objective::Objective;
use perpetual::{Matrix, PerpetualBooster};

use crate::event::Event;
use crate::generator::Ticket;
use crate::rule::GAP_HOURS;

/// How many last events the trees see one by one.
const LAST_EVENTS: usize = 3;

/// The trees' forecasts.
#[derive(Debug)]
pub(crate) struct Trees {
    /// Log-odds, one a ticket.
    pub(crate) scores: Vec<f32>,
    pub(crate) trees: usize,
    pub(crate) features: usize,
}

/// Trains on one part and forecasts another.
pub(crate) fn forecast(
    training: &[&Ticket],
    tickets: &[&Ticket],
    seed: u64,
) -> Result<Trees, Box<dyn Error>> {
    let (x, features) = columns(training);
    let labels = training.iter().map(|ticket| ticket.escalated);
    let y: Vec<f64> = labels.map(|label| f64::from(u8::from(label))).collect();
    let mut booster = PerpetualBooster::default()
        .set_objective(Objective::LogLoss)
        .set_budget(std::env::var("BUDGET").map_or(1.0, |b| b.parse().unwrap()))
        .set_stopping_rounds(std::env::var("STOP").ok().map(|b| b.parse().unwrap()))
        .set_seed(seed);
    booster.fit(&Matrix::new(&x, training.len(), features), &y, None, None)?;
    let (x, _) = columns(tickets);
    let scores = booster.predict(&Matrix::new(&x, tickets.len(), features), true);
    Ok(Trees {
        scores: scores.into_iter().map(|score| score as f32).collect(),
        trees: booster.get_prediction_trees().len(),
        features,
    })
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
