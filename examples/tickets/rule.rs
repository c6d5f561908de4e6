//! The rule that decides how probable an escalation is: a walk over the ticket's events in their order.

use crate::event::Event;
use crate::generator::Step;

/// What of the tension is left one event later: half of it is gone after 23 events.
const MEMORY: f64 = 0.97;

/// The tension beyond which nothing is added: people are as angry as they get.
const LARGEST: f64 = 6.0;

/// Hours without an event from which on there is a gap.
pub(crate) const GAP_HOURS: f64 = 8.0;

/// Log-odds of an escalation of a ticket of the lowest priority without tension; chosen so that 3.2 % of all tickets escalate.
const BASE: f64 = -6.0;

/// Log-odds for each unit of tension.
const PER_TENSION: f64 = 1.1;

/// Log-odds for each level of priority.
const PER_PRIORITY: f64 = 0.25;

/// What the order of events comes to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tension {
    /// The customer waits for an answer.
    owed: bool,
    /// A raised priority stands that was not taken back.
    raised: bool,
    value: f64,
}

impl Tension {
    /// Goes on to the next event.
    pub(crate) fn follow(&mut self, step: &Step) {
        let sign = |condition: bool| if condition { 1.0 } else { -1.0 };
        let mut change = 0.0;
        if f64::from(step.gap) >= GAP_HOURS {
            change += sign(self.owed);
        }
        match step.event {
            Event::SlaTick => change += sign(self.owed),
            Event::Webhook => change += sign(self.raised),
            Event::PriorityLowered if self.raised => change += 1.5 * sign(self.owed),
            _ => {}
        }
        match step.event {
            Event::Opened | Event::CustomerMessage | Event::Reopened => self.owed = true,
            Event::AgentReply | Event::Waiting | Event::Resolved => self.owed = false,
            Event::PriorityRaised => self.raised = true,
            Event::PriorityLowered => self.raised = false,
            _ => {}
        }
        self.value = (MEMORY * self.value + change).clamp(-LARGEST, LARGEST);
    }

    /// The log-odds of an escalation within the horizon.
    pub(crate) fn log_odds(&self, priority: u8) -> f64 {
        BASE + PER_TENSION * self.value + PER_PRIORITY * f64::from(priority)
    }
}
