//! All cases of a folder on a device.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::device::Engine;
use crate::manifest::{Case, Suite};
use crate::run::run;

/// Why a case did not run to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It needs a feature that there is not.
    Unsupported(String),
    /// The files do not say what they should, or the device failed.
    Broken(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(formatter, "unsupported: {what}"),
            Self::Broken(what) => formatter.write_str(what),
        }
    }
}

impl From<wgpu_rnn::Error> for Stop {
    fn from(error: wgpu_rnn::Error) -> Self {
        match error {
            wgpu_rnn::Error::Option { .. } => Self::Unsupported(error.to_string()),
            error => Self::Broken(error.to_string()),
        }
    }
}

/// How many cases ended in which way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// Which suites and cases to run; all without a name.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Selection<'a> {
    pub(crate) suite: Option<&'a str>,
    pub(crate) case: Option<&'a str>,
}

/// Where results go: the counts, and a line for each failure and each refusal.
pub(crate) type Report<'a> = (&'a mut Tally, &'a mut dyn FnMut(String));

/// Runs the suites in `folder`, or the suite that it is.
pub(crate) fn run_folder(
    folder: &Path,
    selection: &Selection<'_>,
    engine: &Engine,
    (tally, print): Report<'_>,
) {
    match suite_folders(folder) {
        Ok(folders) => {
            for folder in folders {
                run_suite(&folder, selection, engine, (tally, print));
            }
        }
        Err(error) => {
            print(format!("FAIL {}: {error}", folder.display()));
            tally.failed += 1;
        }
    }
}

/// `folder` itself if it is a suite, else the suites in it, by name.
fn suite_folders(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if folder.join("manifest.json").is_file() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("manifest.json").is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return Err("no manifest.json here nor one folder below".to_owned());
    }
    Ok(folders)
}

fn run_suite(
    folder: &Path,
    selection: &Selection<'_>,
    engine: &Engine,
    (tally, print): Report<'_>,
) {
    let folder_name = folder.file_name().map(|name| name.to_string_lossy());
    let folder_name = folder_name.as_deref().unwrap_or("?");
    let suite = match Suite::read(folder, folder_name) {
        Ok(suite) => suite,
        Err(error) => {
            print(format!("FAIL {folder_name}: manifest.json: {error}"));
            tally.failed += 1;
            return;
        }
    };
    if (selection.suite).is_some_and(|wanted| wanted != suite.name && wanted != folder_name) {
        return;
    }
    for case in suite.cases() {
        if selection.case.is_none_or(|name| name == case.name) {
            let label = format!("{}/{}", suite.name, case.name);
            run_case(&label, (&case, folder), engine, (tally, print));
        }
    }
}

fn run_case(
    label: &str,
    (case, folder): (&Case<'_>, &Path),
    engine: &Engine,
    (tally, print): Report<'_>,
) {
    match run(case, folder, engine) {
        Ok(differences) if differences.is_empty() => tally.passed += 1,
        Ok(differences) => {
            tally.failed += 1;
            for difference in differences {
                print(format!("FAIL {label} {difference}"));
            }
        }
        Err(stop @ Stop::Unsupported(_)) => {
            tally.skipped += 1;
            print(format!("SKIP {label}: {stop}"));
        }
        Err(stop) => {
            tally.failed += 1;
            print(format!("FAIL {label}: {stop}"));
        }
    }
}
