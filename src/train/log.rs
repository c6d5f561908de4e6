//! The metrics log: a row an epoch, as JSON lines and as CSV.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};

/// One epoch's values.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// The epoch, from 0.
    pub epoch: u64,
    /// In the order of the log's columns; NaN for what was not finite.
    pub values: Vec<f64>,
}

/// Writes `NAME.jsonl` and `NAME.csv` with the same rows. A row is on the disk when [`append`](Self::append) returns; a row
/// that a killed process left cut off is dropped when the log is opened again.
///
/// ```
/// use wgpu_rnn::train::MetricsLog;
///
/// let folder = tempfile::tempdir().unwrap();
/// let name = folder.path().join("training");
/// let mut log = MetricsLog::open(&name, &["loss", "AUC"], 0)?;
/// log.append(0, &[0.7, 0.5])?;
/// log.append(1, &[0.4, 0.8])?;
///
/// // Training goes on from a checkpoint after the first epoch: what came later is done again.
/// let mut log = MetricsLog::open(&name, &["loss", "AUC"], 1)?;
/// log.append(1, &[0.41, 0.79])?;
/// let csv = std::fs::read_to_string(name.with_extension("csv")).unwrap();
/// assert_eq!(csv, "epoch,loss,AUC\n0,0.7,0.5\n1,0.41,0.79\n");
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug)]
pub struct MetricsLog {
    json: PathBuf,
    csv: PathBuf,
    columns: Vec<String>,
    rows: Vec<LogRow>,
}

impl MetricsLog {
    /// Opens the log `name` (its extension is replaced) at `epoch`: keeps the rows before it, drops the others. Epoch 0
    /// begins anew.
    ///
    /// # Errors
    /// [`Error::Data`] if a column's name is empty, `epoch`, there twice or has a comma, a quote or a line break, or names
    /// the first line of the file that is not a row of these columns; [`Error::File`] if a file cannot be read or written.
    pub fn open(name: &Path, columns: &[&str], epoch: u64) -> Result<Self> {
        check_columns(columns)?;
        let json = name.with_extension("jsonl");
        let mut log = Self {
            csv: name.with_extension("csv"),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            json,
        };
        if epoch > 0 && log.json.exists() {
            let bytes = fs::read(&log.json).map_err(|e| Error::file(&log.json, "read", &e))?;
            log.rows = log.parse(&bytes)?;
            log.rows.retain(|row| row.epoch < epoch);
        }
        let lines: String = log.rows.iter().map(|row| log.json_line(row)).collect();
        write_atomically(&log.json, lines.as_bytes())?;
        let lines: String = log.rows.iter().map(csv_line).collect();
        let header = format!("epoch,{}\n", log.columns.join(","));
        write_atomically(&log.csv, (header + &lines).as_bytes())?;
        Ok(log)
    }

    /// The rows so far.
    pub fn rows(&self) -> &[LogRow] {
        &self.rows
    }

    /// Adds a row and waits until it is on the disk. What is not finite is `null` in JSON and `NaN` in CSV.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many values as columns; [`Error::Data`] if `epoch` does not come after the last
    /// one; [`Error::File`] if a file cannot be written.
    pub fn append(&mut self, epoch: u64, values: &[f64]) -> Result<()> {
        if values.len() != self.columns.len() {
            let expected = format!("{} values", self.columns.len());
            return Err(Error::shape(
                "row of the metrics log",
                expected,
                values.len(),
            ));
        }
        if let Some(last) = self.rows.last()
            && epoch <= last.epoch
        {
            let expected = format!("an epoch after {}", last.epoch);
            return Err(Error::data("row of the metrics log", expected, epoch));
        }
        let finite = |&value: &f64| if value.is_finite() { value } else { f64::NAN };
        let row = LogRow {
            epoch,
            values: values.iter().map(finite).collect(),
        };
        append_line(&self.json, &self.json_line(&row))?;
        append_line(&self.csv, &csv_line(&row))?;
        self.rows.push(row);
        Ok(())
    }

    fn json_line(&self, row: &LogRow) -> String {
        let fields = self
            .columns
            .iter()
            .zip(&row.values)
            .map(|(column, &value)| {
                // A name is a string of JSON; a number that is not finite becomes null.
                format!(",{}:{}", Value::from(column.as_str()), Value::from(value))
            });
        format!(
            "{{\"epoch\":{}{}}}\n",
            row.epoch,
            fields.collect::<String>()
        )
    }

    /// The rows of a file; a last line without its end was cut off.
    fn parse(&self, bytes: &[u8]) -> Result<Vec<LogRow>> {
        let mut rows: Vec<LogRow> = Vec::new();
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        for (number, line) in lines.enumerate().filter(|(_, line)| line.ends_with(b"\n")) {
            let row = self.parse_line(line).filter(|row| {
                rows.last()
                    .is_none_or(|last: &LogRow| last.epoch < row.epoch)
            });
            rows.push(row.ok_or_else(|| {
                Error::data(
                    format!("line {} of `{}`", number + 1, self.json.display()),
                    format!("a later epoch's {}", self.columns.join(", ")),
                    String::from_utf8_lossy(line).trim_end(),
                )
            })?);
        }
        Ok(rows)
    }

    fn parse_line(&self, line: &[u8]) -> Option<LogRow> {
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let value = |column: &String| match fields.get(column)? {
            Value::Null => Some(f64::NAN),
            value => value.as_f64(),
        };
        let row = LogRow {
            epoch: fields.get("epoch")?.as_u64()?,
            values: self.columns.iter().map(value).collect::<Option<_>>()?,
        };
        (fields.len() == self.columns.len() + 1).then_some(row)
    }
}

fn check_columns(columns: &[&str]) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        let is_bad = column.is_empty() || column.contains([',', '"', '\n', '\r']);
        if is_bad || *column == "epoch" || columns[..index].contains(column) {
            return Err(Error::data(
                format!("column {index} of the metrics log"),
                "a name of its own, without comma, quote or line break",
                format!("`{column}`"),
            ));
        }
    }
    Ok(())
}

fn csv_line(row: &LogRow) -> String {
    let values: String = row.values.iter().map(|value| format!(",{value}")).collect();
    format!("{}{values}\n", row.epoch)
}

fn append_line(path: &Path, line: &str) -> Result<()> {
    let append = || {
        let mut file = OpenOptions::new().append(true).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    append().map_err(|error: std::io::Error| Error::file(path, "append to", &error))
}
