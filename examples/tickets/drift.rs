//! A month in which the world has changed, seen through the trained model.
//!
//! The rule: *retrain* if more than 1 % of a month's events are unknown to the vocabulary, or if a population stability
//! index, of a feature or of the forecasts, exceeds 0.25; *look into it* if one exceeds 0.1; else *keep*.

use wgpu_rnn::Result;
use wgpu_rnn::data::{DriftReference, population_stability_index};
use wgpu_rnn::model::Predictor;

use crate::dataset::{Dataset, Encoder, FEATURES, features};
use crate::event::Event;
use crate::generator::{DAYS, Ticket, tickets};
use crate::task::forecast;

/// Unknown events of a month beyond which to retrain.
const UNKNOWN: f64 = 0.01;
/// Indices beyond which to look into it and to retrain.
const SHIFTED: [f64; 2] = [0.1, 0.25];
const BINS: usize = 10;
const MONTH: f64 = 30.0;
/// The shifted month is slower: its hours are so many times as long.
const SLOWER: f32 = 1.5;

/// What the month's events are called: a new chat takes the place of messages, and the monitoring speaks a new version.
fn renamed(event: Event) -> &'static str {
    match event {
        Event::CustomerMessage => "chat_message",
        Event::Webhook => "webhook_v2",
        event => event.name(),
    }
}

/// The figures of one month.
struct Report {
    unknown: f64,
    indices: Vec<(&'static str, f64)>,
}

/// Prints the report of the hold-out's last month and of one with other events.
pub(crate) fn show(data: &Dataset, predictor: &mut Predictor, seed: u64) -> Result<()> {
    let hold_out = data.part(data.split.hold_out());
    // Not the last days themselves: of those only short tickets are over.
    let usual: Vec<&Ticket> = { hold_out.into_iter() }
        .filter(|ticket| (DAYS - 2.0 * MONTH..DAYS - MONTH).contains(&ticket.opened))
        .collect();
    let mut shifted = tickets(usual.len(), seed.wrapping_add(1));
    for step in shifted.iter_mut().flat_map(|ticket| &mut ticket.steps) {
        step.hours *= SLOWER;
        step.gap *= SLOWER;
    }
    let shifted: Vec<&Ticket> = shifted.iter().collect();
    let other = Encoder {
        names: renamed,
        ..data.encoder.clone()
    };
    let months = [
        ("a usual month", usual, &data.encoder),
        ("a month with other events", shifted, &other),
    ];
    for (title, month, encoder) in months {
        let mut scores = |encoder, tickets: &[&Ticket]| forecast(predictor, encoder, tickets);
        let validation = data.part(data.split.validation());
        let before = scores(&data.encoder, &validation)?;
        let now = scores(encoder, &month)?;
        print(title, &report(data, encoder, &month, [&before, &now])?);
    }
    Ok(())
}

fn report(
    data: &Dataset,
    encoder: &Encoder,
    month: &[&Ticket],
    [before, now]: [&[f32]; 2],
) -> Result<Report> {
    let training = data.part(data.split.training());
    let counts = |encoder: &Encoder, tickets: &[&Ticket]| {
        let mut counts = vec![0; encoder.vocabulary.len()];
        for step in tickets.iter().flat_map(|ticket| &ticket.steps) {
            counts[encoder.number(step.event) as usize] += 1;
        }
        counts
    };
    let actual: Vec<u64> = counts(encoder, month);
    let unknown = actual[0] as f64 / actual.iter().sum::<u64>() as f64;
    let expected = counts(&data.encoder, &training);
    let mut indices = vec![("event", population_stability_index(&expected, &actual)?)];
    for (column, name) in ["hours", "gap", "priority"].into_iter().enumerate() {
        let reference = DriftReference::new(&values(&training, column), BINS)?;
        indices.push((name, reference.index(&values(month, column))?));
    }
    let reference = DriftReference::new(before, BINS)?;
    indices.push(("forecast", reference.index(now)?));
    Ok(Report { unknown, indices })
}

/// A feature of all events.
fn values(tickets: &[&Ticket], column: usize) -> Vec<f32> {
    debug_assert!(column < FEATURES);
    let steps = tickets.iter().flat_map(|ticket| &ticket.steps);
    steps.map(|step| features(step)[column]).collect()
}

fn print(title: &str, report: &Report) {
    println!(
        "\n{title}: {:.1} % of events unknown",
        100.0 * report.unknown
    );
    for (name, index) in &report.indices {
        println!("  stability index of {name:<9} {index:.3}");
    }
    println!("  advice: {}", advice(report));
}

/// The rule at the top.
fn advice(report: &Report) -> &'static str {
    let largest = report.indices.iter().map(|(_, index)| *index);
    let largest = largest.fold(0.0, f64::max);
    if report.unknown > UNKNOWN || largest > SHIFTED[1] {
        "retrain"
    } else if largest > SHIFTED[0] {
        "look into it"
    } else {
        "keep the model"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_knows_three_answers() {
        let advise = |unknown, index| {
            advice(&Report {
                unknown,
                indices: vec![("gap", 0.0), ("event", index)],
            })
        };
        assert_eq!(advise(0.0, 0.05), "keep the model");
        assert_eq!(advise(0.0, 0.2), "look into it");
        assert_eq!(advise(0.0, 0.3), "retrain");
        assert_eq!(advise(0.02, 0.0), "retrain");
    }
}
