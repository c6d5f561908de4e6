//! What happens to a ticket.

/// The types of events, in the order of their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The ticket is there.
    Opened,
    /// The customer writes.
    CustomerMessage,
    /// An agent answers.
    AgentReply,
    /// Agents write to each other.
    InternalNote,
    /// Another agent takes it.
    Reassigned,
    /// Status: waiting for the customer.
    Waiting,
    /// Status: resolved.
    Resolved,
    /// Status: open again after it was resolved.
    Reopened,
    /// It has become more urgent.
    PriorityRaised,
    /// It has become less urgent.
    PriorityLowered,
    /// The timer of the service-level agreement ticks.
    SlaTick,
    /// The customer's monitoring reports something.
    Webhook,
}

impl Event {
    /// All types; a type's place is its code.
    pub const ALL: [Self; 12] = [
        Self::Opened,
        Self::CustomerMessage,
        Self::AgentReply,
        Self::InternalNote,
        Self::Reassigned,
        Self::Waiting,
        Self::Resolved,
        Self::Reopened,
        Self::PriorityRaised,
        Self::PriorityLowered,
        Self::SlaTick,
        Self::Webhook,
    ];

    /// Its name in a stream of events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::CustomerMessage => "customer_message",
            Self::AgentReply => "agent_reply",
            Self::InternalNote => "internal_note",
            Self::Reassigned => "reassigned",
            Self::Waiting => "waiting",
            Self::Resolved => "resolved",
            Self::Reopened => "reopened",
            Self::PriorityRaised => "priority_raised",
            Self::PriorityLowered => "priority_lowered",
            Self::SlaTick => "sla_tick",
            Self::Webhook => "webhook",
        }
    }
}
