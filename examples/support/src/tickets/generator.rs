//! Synthetic streams of ticket events. They are made up: nothing here was measured at a help desk, and a network that
//! does well on them has shown that it reads order, not that it would do well at yours.
//!
//! A ticket draws its length (lognormal, median 18, 95th percentile 112), a pace, and how often it has which type of
//! event; then its events follow each other by chance alone, with exponential gaps. What the customer will do is decided
//! at the end by the [rule](crate::tickets::rule), which reads the order: an escalation comes at a constant hazard with the rule's
//! probability of coming within 4 hours. So the true probability of every ticket is known, and with it the best AUC
//! that any model can reach. Each ticket has a random stream of its own: the same seed gives the same tickets, on every
//! platform and for any number of them but for their order.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rayon::prelude::*;

use crate::tickets::event::Event;
use crate::tickets::rule::Tension;

/// Median of the number of events.
const MEDIAN_LENGTH: f64 = 18.0;
/// 95th percentile of the number of events.
const P95_LENGTH: f64 = 112.0;
/// The standard normal distribution's 95th percentile.
const NORMAL_P95: f64 = 1.644_853_626_951_472_2;
/// No ticket has more events: 0.1 % would.
pub const LONGEST: usize = 512;
/// Tickets are opened over so many days.
pub const DAYS: f64 = 3.0 * 365.0;
/// An escalation counts if it comes within this time.
pub const HORIZON_HOURS: f64 = 4.0;
/// The highest priority; the lowest is 0.
pub const HIGHEST_PRIORITY: u8 = 3;
/// Median over tickets of the mean hours between events of a day.
const PACE_HOURS: f64 = 1.0;
/// Most hours between events of a day.
const DAY_HOURS: f64 = 6.0;
/// Share of gaps that last a night or longer, and their hours.
const NIGHTS: f64 = 0.08;
const NIGHT_HOURS: std::ops::Range<f64> = 10.0..36.0;

/// How often each type comes in an average ticket, in the order of [`Event::ALL`]; `reopened` takes turns with `resolved`.
const SHARES: [f64; Event::ALL.len()] = [
    0.0, 0.18, 0.18, 0.06, 0.04, 0.04, 0.04, 0.0, 0.06, 0.06, 0.20, 0.14,
];

/// One event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What happened.
    pub event: Event,
    /// Hours since the ticket was opened.
    pub hours: f32,
    /// Hours since the event before.
    pub gap: f32,
    /// Priority after the event.
    pub priority: u8,
}

/// A ticket as it stands after its last event, when the forecast is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticket {
    /// At least one.
    pub steps: Vec<Step>,
    /// When it was opened, in days.
    pub opened: f64,
    /// The true probability that it escalates within the next [`HORIZON_HOURS`].
    pub probability: f64,
    /// Whether it did.
    pub escalated: bool,
}

impl Ticket {
    /// The last event.
    pub fn last(&self) -> Step {
        self.steps[self.steps.len() - 1]
    }
}

/// Makes tickets, in the order in which they were opened.
pub fn tickets(count: usize, seed: u64) -> Vec<Ticket> {
    let mut tickets: Vec<Ticket> = (0..count as u64)
        .into_par_iter()
        .map(|stream| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(stream);
            ticket(&mut random)
        })
        .collect();
    tickets.sort_by(|a, b| a.opened.total_cmp(&b.opened));
    tickets
}

fn ticket(random: &mut ChaCha8Rng) -> Ticket {
    let opened = random.random_range(0.0..DAYS);
    let steps = steps(random);
    let probability = Tension::of(&steps).probability(steps[steps.len() - 1].priority);
    // With this hazard `1 - exp(-hazard * horizon)` is the probability.
    let hazard = -(-probability).ln_1p() / HORIZON_HOURS;
    let waiting: f64 = Exp1.sample(random);
    Ticket {
        steps,
        opened,
        probability,
        escalated: waiting / hazard < HORIZON_HOURS,
    }
}

fn steps(random: &mut ChaCha8Rng) -> Vec<Step> {
    let sigma = (P95_LENGTH / MEDIAN_LENGTH).ln() / NORMAL_P95;
    let length = lognormal(MEDIAN_LENGTH, sigma, random).round() as usize;
    let length = length.clamp(1, LONGEST);
    let shares = SHARES.map(|share| lognormal(share, 0.5, random));
    let pace = lognormal(PACE_HOURS, 0.7, random);
    // The lowest: whatever lowers it later takes back what raised it before.
    let mut priority = 0;
    let mut steps = Vec::with_capacity(length);
    steps.push(Step {
        event: Event::Opened,
        hours: 0.0,
        gap: 0.0,
        priority,
    });
    let (mut hours, mut resolved) = (0.0, false);
    while steps.len() < length {
        let gap = gap(pace, random);
        hours += gap;
        let event = possible(drawn(&shares, random), priority, resolved);
        match event {
            Event::Resolved => resolved = true,
            Event::Reopened => resolved = false,
            Event::PriorityRaised => priority += 1,
            Event::PriorityLowered => priority -= 1,
            _ => {}
        }
        steps.push(Step {
            event,
            hours: hours as f32,
            gap: gap as f32,
            priority,
        });
    }
    steps
}

fn gap(pace: f64, random: &mut ChaCha8Rng) -> f64 {
    if random.random_bool(NIGHTS) {
        return random.random_range(NIGHT_HOURS);
    }
    let hours: f64 = Exp1.sample(random);
    (pace * hours).min(DAY_HOURS)
}

/// What can happen instead of `event` where that cannot.
fn possible(event: Event, priority: u8, resolved: bool) -> Event {
    match event {
        Event::Resolved if resolved => Event::Reopened,
        Event::PriorityRaised if priority == HIGHEST_PRIORITY => Event::PriorityLowered,
        Event::PriorityLowered if priority == 0 => Event::PriorityRaised,
        event => event,
    }
}

fn drawn(shares: &[f64; Event::ALL.len()], random: &mut ChaCha8Rng) -> Event {
    let mut left = random.random_range(0.0..shares.iter().sum::<f64>());
    for (event, share) in Event::ALL.into_iter().zip(shares) {
        if left < *share {
            return event;
        }
        left -= share;
    }
    // Only rounding leads here.
    Event::Webhook
}

fn lognormal(median: f64, sigma: f64, random: &mut ChaCha8Rng) -> f64 {
    let normal: f64 = StandardNormal.sample(random);
    median * (sigma * normal).exp()
}
