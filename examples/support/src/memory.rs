//! Memory of this process, as Linux reports it.

/// Starts a new measurement of the [peak](peak_bytes). Without the permission the peak stays what it was; the figure is then an
/// upper bound.
pub fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Bytes of resident memory now; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS")
}

/// The most bytes of resident memory since the last [reset](reset_peak); `None` where the system does not say.
pub fn peak_bytes() -> Option<u64> {
    status("VmHWM")
}

/// Bytes as MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = { line.strip_prefix(':')? }
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(kibibytes * 1024)
}
