//! Files that outlive a program: what was tuned, and what the driver compiled.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of files for one adapter and driver.
#[derive(Debug, Clone)]
pub(crate) struct CacheDirectory {
    directory: PathBuf,
    /// Tells adapters and drivers apart.
    adapter: String,
}

impl CacheDirectory {
    pub(crate) fn new(directory: &Path, info: &wgpu::AdapterInfo) -> Self {
        let adapter = format!(
            "{:?}-{:04x}-{:04x}-{}-{}-{}",
            info.backend, info.vendor, info.device, info.name, info.driver, info.driver_info
        );
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() || c == '.' => c,
            _ => '-',
        };
        Self {
            directory: directory.to_owned(),
            adapter: adapter.chars().map(plain).take(160).collect(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}.{name}", self.adapter))
    }

    /// A file's content, if there is such a file of at most `most` bytes.
    pub(crate) fn load(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let path = self.path(name);
        let read = || match fs::metadata(&path)?.len() {
            len if len > most => Err(io::Error::other(format!("{len} bytes, at most {most}"))),
            _ => fs::read(&path),
        };
        match read() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("{} is left alone: {error}", path.display());
                None
            }
        }
    }

    /// Replaces a file: whoever reads it meanwhile, or after a crash, finds the old content or the new. What cannot be
    /// written is only missed, so it is no error.
    pub(crate) fn store(&self, name: &str, bytes: &[u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(name);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        let write = || {
            fs::create_dir_all(&self.directory)?;
            let mut file = fs::File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        match write() {
            Ok(()) => log::debug!("wrote {} bytes to {}", bytes.len(), path.display()),
            Err(error) => {
                log::warn!("{} could not be written: {error}", path.display());
                let _ = fs::remove_file(&temporary);
            }
        }
    }
}
