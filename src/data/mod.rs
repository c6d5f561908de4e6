//! What goes into a model: who trains and who is held out, how values are scaled and named, and in which batches they
//! come.
//!
//! Nothing here knows of devices. Everything that is random is a function of a seed and an epoch: the order of the data
//! can be saved as two numbers, and is the same on every platform.
//!
//! | step | type |
//! |---|---|
//! | part training from hold-out, refuse leakage | [`Split`] over [`Window`]s |
//! | name events by numbers | [`Vocabulary`] |
//! | bring numbers to one scale | [`Scaler`] |
//! | weigh rare classes | [`ClassSampler`] |
//! | gather batches of like lengths | [`LengthBatches`] |
//! | notice that the world has changed | [`DriftReference`] |
//!
//! ```
//! use wgpu_rnn::data::{BatchOptions, ClassSampler, LengthBatches};
//!
//! let lengths = [3, 90, 5, 88, 4, 2];
//! let labels = [0, 0, 0, 1, 0, 0];
//! // Positives come half as often as negatives, then batches of at most 200 tokens.
//! let sampler = ClassSampler::over_sampling(&labels, 0.5, 7)?;
//! let batches = LengthBatches::new(&lengths, BatchOptions { token_budget: 200, ..BatchOptions::default() })?;
//! for batch in batches.epoch_of(&sampler.epoch(0), 0)? {
//!     assert!(batch.iter().map(|&sample| lengths[sample]).sum::<usize>() <= 200);
//! }
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```

mod batches;
mod drift;
mod order;
mod sampler;
mod scaler;
mod split;
mod vocabulary;

pub use batches::{BatchOptions, LengthBatches, Padding};
pub use drift::{DriftReference, population_stability_index};
pub use sampler::ClassSampler;
pub use scaler::{Scaler, Scaling};
pub use split::{Crossing, EntityShares, HoldOut, Rule, Split, TimeCuts, Window};
pub use vocabulary::Vocabulary;
