//! Checkpoints: what is written comes back bit for bit, what is damaged or belongs elsewhere is refused, and a process that
//! is killed while it writes leaves a whole one.

mod configurations;
mod damage;
mod example;
mod killed;
mod log;
mod round_trip;

#[track_caller]
fn refused<T: std::fmt::Debug>(result: wgpu_rnn::Result<T>, text: &str) {
    assert_eq!(
        result.expect_err("this should be refused").to_string(),
        text
    );
}
