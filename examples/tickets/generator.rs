//! Synthetic streams of ticket events, repeatable by seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal, StandardNormal};
use rayon::prelude::*;

use crate::event::Event;
use crate::rule::Tension;

/// Median and 95th percentile of the events of a ticket.
const MEDIAN_LENGTH: f64 = 18.0;
const P95_LENGTH: f64 = 112.0;
/// No ticket has more events.
pub(crate) const LONGEST: usize = 512;
/// The days that tickets spread over.
pub(crate) const DAYS: f64 = 3.0 * 365.0;
/// An escalation counts if it comes within this time.
pub(crate) const HORIZON_HOURS: f64 = 4.0;
/// The highest priority; the lowest is 0.
pub(crate) const HIGHEST_PRIORITY: u8 = 3;

/// How often each type comes in an average ticket, in the order of [`Event::ALL`].
const SHARES: [f64; 12] = [
    0.0, 0.20, 0.20, 0.09, 0.05, 0.05, 0.04, 0.0, 0.07, 0.07, 0.13, 0.10,
];

/// One event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) event: Event,
    /// Hours since the ticket was opened.
    pub(crate) hours: f32,
    /// Hours since the event before.
    pub(crate) gap: f32,
    /// Priority after the event.
    pub(crate) priority: u8,
}

/// A ticket as it stands at the moment of the forecast.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticket {
    pub(crate) steps: Vec<Step>,
    /// Moment of the forecast, in days since the first day.
    pub(crate) day: f64,
    /// The true probability that it escalates within the next hours.
    pub(crate) probability: f64,
    /// Whether it did.
    pub(crate) escalated: bool,
}

/// Makes tickets, in the order of their moments.
pub(crate) fn tickets(count: usize, seed: u64) -> Vec<Ticket> {
    let mut tickets: Vec<Ticket> = (0..count as u64)
        .into_par_iter()
        .map(|stream| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(stream);
            ticket(&mut random)
        })
        .collect();
    tickets.sort_by(|a, b| a.day.total_cmp(&b.day));
    tickets
}

fn ticket(random: &mut ChaCha8Rng) -> Ticket {
    let length = length(random);
    let shares = SHARES.map(|share| {
        let z: f64 = StandardNormal.sample(random);
        share * (0.5 * z).exp()
    });
    let z: f64 = StandardNormal.sample(random);
    let pace = Exp::new(1.0 / (2.5 * (0.7 * z).exp())).unwrap();
    let mut priority = random.random_range(0..HIGHEST_PRIORITY);
    let mut resolved = false;
    let mut steps = vec![Step { event: Event::Opened, hours: 0.0, gap: 0.0, priority }];
    let mut hours = 0.0;
    while steps.len() < length {
        let gap: f64 = pace.sample(random);
        hours += gap;
        let event = match draw(&shares, random) {
            Event::Resolved if resolved => Event::Reopened,
            Event::PriorityRaised if priority == HIGHEST_PRIORITY => Event::PriorityLowered,
            Event::PriorityLowered if priority == 0 => Event::PriorityRaised,
            event => event,
        };
        match event {
            Event::Resolved => resolved = true,
            Event::Reopened => resolved = false,
            Event::PriorityRaised => priority += 1,
            Event::PriorityLowered => priority -= 1,
            _ => {}
        }
        steps.push(Step { event, hours: hours as f32, gap: gap as f32, priority });
    }
    let mut tension = Tension::default();
    steps.iter().for_each(|step| tension.follow(step));
    let probability = 1.0 / (1.0 + (-tension.log_odds(priority)).exp());
    let hazard = -(-probability).ln_1p() / HORIZON_HOURS;
    let escalation: f64 = Exp::new(hazard).unwrap().sample(random);
    Ticket {
        steps,
        day: random.random_range(0.0..DAYS),
        probability,
        escalated: escalation < HORIZON_HOURS,
    }
}

fn length(random: &mut ChaCha8Rng) -> usize {
    let z95 = 1.6448536269514722;
    let sigma = (P95_LENGTH / MEDIAN_LENGTH).ln() / z95;
    let length: f64 = LogNormal::new(MEDIAN_LENGTH.ln(), sigma).unwrap().sample(random);
    (length.round() as usize).clamp(1, LONGEST)
}

fn draw(shares: &[f64; 12], random: &mut ChaCha8Rng) -> Event {
    let mut left = random.random_range(0.0..shares.iter().sum::<f64>());
    for (event, share) in Event::ALL.into_iter().zip(shares) {
        if left < *share { return event; }
        left -= share;
    }
    Event::Webhook
}
