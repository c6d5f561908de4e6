//! What several examples share.
//!
//! | module | what |
//! |---|---|
//! | [`devices`] | which devices there are, which one trains, and why |
//! | [`memory`] | memory of the process, as Linux reports it |
//! | [`series`] | a series from a CSV file: standardised, cut in time, in windows |
//! | [`tickets`] | streams of events of support tickets that are made up, as a network sees them |

pub mod devices;
pub mod memory;
pub mod series;
pub mod tickets;
