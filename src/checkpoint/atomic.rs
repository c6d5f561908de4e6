//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

/// A writer touches its temporary file all the time; one untouched for so long has none any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Replaces the file at `path` by `bytes`: whoever reads it, at whatever moment, whatever happens meanwhile, finds the old
/// content or the new one.
///
/// The bytes go to a temporary file in the same directory (`.NAME.PROCESS.NUMBER.tmp`), are synced to the disk and renamed;
/// then the directory is synced. What a killed process leaves behind is removed by a later write to the same path once it
/// is an hour old.
///
/// # Errors
/// [`Error::File`] says which step failed. The old content is then as it was, except that after a failed sync of the
/// directory either may be found after a loss of power.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let Some(name) = path.file_name() else {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no file name");
        return Err(Error::file(path, "write", &error));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let prefix = format!(".{}.", name.to_string_lossy());
    remove_abandoned(folder, &prefix);
    let temporary = temporary(folder, &prefix);
    let written = write_synced(&temporary, bytes)
        .map_err(|error| Error::file(&temporary, "write", &error))
        .and_then(|()| {
            fs::rename(&temporary, path).map_err(|error| Error::file(path, "replace", &error))
        });
    if written.is_err() {
        // The first error is the one to tell of.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder).map_err(|error| Error::file(folder, "sync", &error))
}

fn temporary(folder: &Path, prefix: &str) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{prefix}{}.{number}.tmp", std::process::id()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left by a killed process that had the same number.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the renaming last. Windows syncs it with the file and has no handles of directories to sync.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// Removes what killed processes left; whatever fails here does not concern the write.
fn remove_abandoned(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_temporary = name.starts_with(prefix) && name.ends_with(".tmp");
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_temporary && age().is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
