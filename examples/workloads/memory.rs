//! Memory of this process, as Linux reports it.

/// Resident memory in MiB now, after resetting the peak to it; `None` where the system does not say.
pub(crate) fn reset_peak() -> Option<f64> {
    // Without the permission the peak stays what it was; the figure is then an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    status("VmRSS")
}

/// The peak of resident memory in MiB since the last reset.
pub(crate) fn peak() -> Option<f64> {
    status("VmHWM")
}

fn status(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: f64 = line
        .strip_prefix(':')?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(kibibytes / 1024.0)
}
