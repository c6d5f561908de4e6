//! Checks of numbers that become `f32` on the device.

use crate::error::{Error, Result};

pub(super) fn check_not_negative(option: &'static str, value: f64) -> Result<()> {
    if value >= 0.0 && (value as f32).is_finite() {
        return Ok(());
    }
    let reason = format!("must be a finite number, at least 0, is {value}");
    Err(Error::option(option, reason))
}

pub(super) fn check_positive(option: &'static str, value: f64) -> Result<()> {
    if value as f32 > 0.0 && (value as f32).is_finite() {
        return Ok(());
    }
    let reason = format!("must be a finite number greater than 0, is {value}");
    Err(Error::option(option, reason))
}
