//! Every operation of the CPU device but the recurrent ones, as a program of one operation, against naive loops; and what
//! the device refuses. `cpu_recurrence` has the recurrent ones.

#[path = "../common/custom.rs"]
mod custom_cases;
#[path = "../common/elementwise.rs"]
mod elementwise_cases;
#[path = "../common/optimizers.rs"]
mod optimizers;
#[path = "../common/recurrences.rs"]
mod recurrences;
#[path = "../common/rounded.rs"]
mod rounded;

mod custom;
mod elementwise;
mod moves;
mod refusals;
mod sums;
mod support;
mod training;
