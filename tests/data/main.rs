//! Batches, samplers, splits, scalers, vocabularies and drift.

mod batches;
mod drift;
mod samplers;
mod scalers;
mod splits;
mod vocabularies;

#[track_caller]
fn refused<T: std::fmt::Debug>(result: wgpu_rnn::Result<T>, text: &str) {
    assert_eq!(
        result.expect_err("this should be refused").to_string(),
        text
    );
}
