//! The rule by which tickets escalate: what decides is the order of events, in a memory that fades.
//!
//! The walk knows whether an answer is *owed*: the customer spoke last, and nobody has replied, asked back or resolved since.
//! Some events put pressure on: a tick of the agreement's timer, a report of the customer's monitoring, a priority that
//! was raised (the trigger) and is lowered again (the reversal), and a gap of hours in which nothing happens. While an answer is owed each adds to the tension; else each takes as much from it, for it
//! was borne well. Both are equally frequent, so how often something happened says next to nothing, and the last
//! event little: it takes the order.

use crate::tickets::event::Event;
use crate::tickets::generator::Step;

/// What of the tension is left one event later: half of it is gone after 13 events.
const MEMORY: f64 = 0.95;

/// The tension at which it neither rises nor falls any more.
const LARGEST: f64 = 6.0;

/// Hours without an event from which on there is a gap.
pub const GAP_HOURS: f64 = 8.0;

/// Log-odds of an escalation of a ticket of the lowest priority without tension: 3.2 % of all tickets escalate.
const BASE: f64 = -8.425;

/// Log-odds for each unit of tension.
const PER_TENSION: f64 = 1.4;

/// Log-odds for each level of priority: what an aggregate does see.
const PER_PRIORITY: f64 = 0.25;

/// What the order of events comes to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tension {
    owed: bool,
    value: f64,
}

impl Tension {
    /// That of a whole ticket.
    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut tension = Self::default();
        steps.iter().for_each(|step| tension.follow(step));
        tension
    }

    /// Goes on to the next event. Pressure counts by what was owed before it.
    fn follow(&mut self, step: &Step) {
        let is_pressure = matches!(
            step.event,
            Event::SlaTick | Event::Webhook | Event::PriorityLowered
        );
        let is_gap = f64::from(step.gap) >= GAP_HOURS;
        let pressure = f64::from(u8::from(is_pressure) + u8::from(is_gap));
        let change = if self.owed { pressure } else { -pressure };
        self.value = (MEMORY * self.value + change).clamp(-LARGEST, LARGEST);
        match step.event {
            Event::Opened | Event::CustomerMessage | Event::Reopened => self.owed = true,
            Event::AgentReply | Event::Waiting | Event::Resolved => self.owed = false,
            _ => {}
        }
    }

    /// The probability of an escalation within [`HORIZON_HOURS`](crate::tickets::generator::HORIZON_HOURS) of a ticket of this
    /// priority.
    pub(crate) fn probability(&self, priority: u8) -> f64 {
        let log_odds = BASE + PER_TENSION * self.value + PER_PRIORITY * f64::from(priority);
        1.0 / (1.0 + (-log_odds).exp())
    }
}
