//! Bad input is an error value that says what was expected and what came: no panic, nothing half-done.

mod batches;
mod configuration;
mod devices;
mod networks;
mod weights;

use std::fmt::Debug;

use wgpu_rnn::Error;

/// A call's error, which has to be there and to contain each of `parts`.
#[track_caller]
fn error_of<T: Debug>(result: wgpu_rnn::Result<T>, parts: &[&str]) -> Error {
    let error = result.expect_err("this should have been refused");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    error
}

/// An error about a shape or a length.
#[track_caller]
fn shape_error<T: Debug>(result: wgpu_rnn::Result<T>, parts: &[&str]) {
    let error = error_of(result, parts);
    assert!(matches!(error, Error::Shape { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("expected") && text.contains("got"),
        "it does not say what was expected and what came: {text}"
    );
}

/// An error about a size that does not fit.
#[track_caller]
fn overflow_error<T: Debug>(result: wgpu_rnn::Result<T>, parts: &[&str]) {
    let error = error_of(result, parts);
    assert!(matches!(error, Error::Overflow { .. }), "{error:?}");
}
