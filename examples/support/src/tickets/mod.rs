//! Support tickets, made up, of which some escalate: streams of events, the rule that decides, and how a network sees them.

pub mod dataset;
pub mod event;
pub mod generator;
pub mod rule;
#[cfg(test)]
mod tests;
