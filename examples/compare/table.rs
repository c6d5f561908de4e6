//! A table as Markdown, for people and files, and as CSV.

use std::path::Path;

use wgpu_rnn::checkpoint::write_atomically;
use wgpu_rnn::{Error, Result};

/// Rows under columns.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: AsRef<str>>(title: String, columns: &[S]) -> Self {
        let columns = columns.iter().map(|column| column.as_ref().to_owned());
        Self {
            title,
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; what it lacks is left empty.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Markdown whose columns are aligned, so that a terminal shows it as well: numbers to the right.
    pub(crate) fn markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]);
            let cells = cells.chain([&self.columns[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let is_number: Vec<bool> = (0..widths.len()).map(|at| self.is_number(at)).collect();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&widths).zip(&is_number);
            let cells = cells.map(|((cell, &width), right)| match right {
                true => format!(" {cell:>width$} |"),
                false => format!(" {cell:<width$} |"),
            });
            format!("|{}\n", cells.collect::<String>())
        };
        let rule = widths.iter().zip(&is_number);
        let rule: String = rule
            .map(|(&width, right)| match right {
                true => format!("{:->1$}:|", "", width + 1),
                false => format!("{:->1$}|", "", width + 2),
            })
            .collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}|{rule}\n{rows}", line(&self.columns))
    }

    /// Whether a column has nothing but numbers, empty cells aside.
    fn is_number(&self, column: usize) -> bool {
        let cells = self.rows.iter().map(|row| row[column].as_str());
        let mut cells = cells.filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|cell| cell.parse::<f64>().is_ok())
    }

    /// The rows as CSV.
    pub(crate) fn csv(&self) -> std::result::Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in [&self.columns].into_iter().chain(&self.rows) {
            writer.write_record(row)?;
        }
        let bytes = writer.into_inner();
        bytes.map_err(|error| csv::Error::from(error.into_error()))
    }

    /// Writes `NAME.md` and `NAME.csv`.
    pub(crate) fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let markdown = format!("# {}\n\n{}", self.title, self.markdown());
        write_atomically(&folder.join(format!("{name}.md")), markdown.as_bytes())?;
        let path = folder.join(format!("{name}.csv"));
        let failed = |error: csv::Error| Error::Format(format!("{}: {error}", path.display()));
        write_atomically(&path, &self.csv().map_err(failed)?)
    }
}
