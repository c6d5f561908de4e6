//! A CSV file as standardised columns, cut in time, and the windows in it.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wgpu_rnn::{PackedBatch, Packing};

/// The file that is read when none is named.
const DEFAULT_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/mauna-loa-co2.csv");

/// A year of its weeks.
const DEFAULT_SEASON: usize = 52;

/// Keeps the scale of a window that does not move away from zero, in standard deviations of the series.
const LEAST_SCALE: f64 = 0.01;

/// Which series, and how it is cut.
#[derive(Debug, Clone)]
pub struct Source {
    /// A CSV file with a header, one row a time step; without it weekly CO2 at Mauna Loa.
    pub data: Option<PathBuf>,
    /// The column to forecast; without it the last one.
    pub target: Option<String>,
    /// Further columns that the network sees, or `all`.
    pub features: Vec<String>,
    /// Values to forecast.
    pub horizon: usize,
    /// Values that a forecast is made from.
    pub window: usize,
    /// Steps of a season; without it 52 weeks, or found in the training part of a file.
    pub season: Option<usize>,
    /// Rows of the training, validation and test part; without it 70, 10 and 20 percent.
    pub split: Vec<usize>,
}

/// A column, in original units.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    values: Vec<f64>,
    filled: usize,
}

/// A series with its features, its parts and its season.
#[derive(Debug)]
pub struct Series {
    /// What was read and how, for people.
    pub about: String,
    /// Name of the target column.
    pub name: String,
    /// The target in original units.
    pub target: Vec<f64>,
    /// Standard deviation of the target's training part.
    pub deviation: f64,
    /// The target, then the features, standardised with the training part's mean and deviation.
    channels: Vec<Vec<f64>>,
    /// Rows of the training, validation and test part.
    pub parts: [Range<usize>; 3],
    /// Steps of a season.
    pub season: usize,
    /// Values that a forecast is made from.
    pub window: usize,
    /// Values to forecast.
    pub horizon: usize,
}

/// Windows as a network sees them.
#[derive(Debug)]
pub struct Windows {
    /// A sequence for each window, a row a time step: the target, then the features.
    pub x: PackedBatch,
    /// `[windows, horizon]`
    pub target: Vec<f32>,
}

impl Series {
    /// Reads, fills, standardises and cuts what the source names.
    ///
    /// # Errors
    /// Says which file, column or part it is that cannot be used, and why.
    pub fn load(source: &Source) -> Result<Self, Box<dyn Error>> {
        let path = source.data.as_deref().unwrap_or(Path::new(DEFAULT_DATA));
        let columns = select(read(path)?, source)?;
        let rows = columns[0].values.len();
        let parts = split(rows, &source.split)?;
        let training = parts[0].clone();
        let season = match (source.season, &source.data) {
            (Some(season), _) => season,
            (None, None) => DEFAULT_SEASON,
            (None, Some(_)) => find_season(&columns[0].values[training.clone()]),
        };
        let filled: Vec<String> = columns
            .iter()
            .filter(|column| column.filled > 0)
            .map(|column| format!("{} of `{}`", column.filled, column.name))
            .collect();
        let filled = match filled.as_slice() {
            [] => "no value is missing".to_owned(),
            filled => format!("missing values interpolated: {}", filled.join(", ")),
        };
        let standardised = columns
            .iter()
            .map(|column| standardise(column, &training))
            .collect::<Result<Vec<_>, _>>()?;
        let series = Self {
            about: format!("{}: {rows} rows, {filled}", path.display()),
            name: columns[0].name.clone(),
            target: columns[0].values.clone(),
            deviation: standardised[0].1,
            channels: standardised.into_iter().map(|(values, _)| values).collect(),
            parts,
            season,
            window: source.window,
            horizon: source.horizon,
        };
        for (part, name) in ["training", "validation", "test"].iter().enumerate() {
            if series.starts(part).is_empty() {
                return Err(format!(
                    "the {name} part, rows {:?}, has no window of {} values (a season is {season}) with {} to forecast",
                    series.parts[part], series.window, series.horizon
                )
                .into());
            }
        }
        Ok(series)
    }

    /// Features that enter the network.
    pub fn inputs(&self) -> usize {
        self.channels.len()
    }

    /// First forecast rows of a part. What is forecast lies in the part; what it is forecast from may lie before, except
    /// before the first row. Both naive forecasts can be made for each.
    pub fn starts(&self, part: usize) -> Range<usize> {
        let rows = &self.parts[part];
        let first = rows.start.max(self.window).max(self.season);
        first..(rows.end + 1).saturating_sub(self.horizon).max(first)
    }

    /// The windows that end before each of `starts`, which are some of a [part's](Self::starts).
    ///
    /// The target enters as its distance from the window's last value, in standard deviations of the window, and leaves in the
    /// same form (as in reversible instance normalisation, Kim et al. 2022): so a level and a swing that the training part
    /// never had do not matter. Other columns enter standardised by the training part.
    ///
    /// # Errors
    /// [`Error::Overflow`](wgpu_rnn::Error::Overflow) for more windows than a batch can have.
    pub fn windows(&self, starts: &[usize]) -> wgpu_rnn::Result<Windows> {
        let target = &self.channels[0];
        let frames: Vec<Frame> = starts.iter().map(|&start| self.frame(start)).collect();
        let packing = Arc::new(Packing::dense(self.window, starts.len())?);
        // The packed order of sequences of one length.
        let mut rows = Vec::with_capacity(packing.tokens() * self.inputs());
        for step in 0..self.window {
            for (&start, frame) in starts.iter().zip(&frames) {
                let row = start - self.window + step;
                rows.push(frame.enter(target[row]) as f32);
                let features = self.channels[1..].iter().map(|values| values[row] as f32);
                rows.extend(features);
            }
        }
        let futures = starts.iter().zip(&frames).flat_map(|(&start, frame)| {
            let future = target[start..start + self.horizon].iter();
            future.map(|&value| frame.enter(value) as f32)
        });
        Ok(Windows {
            x: PackedBatch::new(packing, self.inputs(), rows)?,
            target: futures.collect(),
        })
    }

    /// The network's output for one window, `[horizon]`, in original units.
    pub fn original(&self, start: usize, output: &[f32]) -> Vec<f64> {
        let scale = self.frame(start).scale * self.deviation;
        let last = self.target[start - 1];
        output
            .iter()
            .map(|&value| last + f64::from(value) * scale)
            .collect()
    }

    /// The truth from `start` on.
    pub fn truth(&self, start: usize) -> &[f64] {
        &self.target[start..start + self.horizon]
    }

    /// Everything stays as it last was.
    pub fn last_value(&self, start: usize) -> Vec<f64> {
        vec![self.target[start - 1]; self.horizon]
    }

    /// Everything is as it was a season ago (several seasons where the horizon is longer than one).
    pub fn seasonal_naive(&self, start: usize) -> Vec<f64> {
        (0..self.horizon)
            .map(|ahead| self.target[start - self.season + ahead % self.season])
            .collect()
    }

    fn frame(&self, start: usize) -> Frame {
        let window = &self.channels[0][start - self.window..start];
        let (_, deviation) = moments(window);
        Frame {
            last: window[self.window - 1],
            scale: deviation + LEAST_SCALE,
        }
    }
}

/// What a window's values are measured against.
#[derive(Debug, Clone, Copy)]
struct Frame {
    last: f64,
    scale: f64,
}

impl Frame {
    fn enter(self, value: f64) -> f64 {
        (value - self.last) / self.scale
    }
}

/// All columns that hold numbers (or nothing); gaps filled.
fn read(path: &Path) -> Result<Vec<Column>, Box<dyn Error>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut reader = csv::Reader::from_path(path).map_err(|error| named(&error))?;
    let names: Vec<String> = reader
        .headers()
        .map_err(|error| named(&error))?
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    let mut columns: Vec<Option<Vec<f64>>> = vec![Some(Vec::new()); names.len()];
    for record in reader.records() {
        let record = record.map_err(|error| named(&error))?;
        for (column, cell) in columns.iter_mut().zip(&record) {
            let number = match cell.trim() {
                "" => Some(f64::NAN),
                cell => cell.parse().ok(),
            };
            match (number, column.as_mut()) {
                (Some(number), Some(values)) => values.push(number),
                // A date, a word: not a column to learn from.
                _ => *column = None,
            }
        }
    }
    let numeric = names.into_iter().zip(columns);
    let columns: Vec<Column> = numeric
        .filter_map(|(name, values)| Some((name, values?)))
        .filter(|(_, values)| values.iter().any(|value| value.is_finite()))
        .map(|(name, values)| fill(name, values))
        .collect();
    match columns.is_empty() {
        true => Err(named(&"no column of numbers").into()),
        false => Ok(columns),
    }
}

/// Replaces what is no finite number by the straight line between its neighbours, or by the nearest at the ends.
fn fill(name: String, mut values: Vec<f64>) -> Column {
    let known: Vec<usize> = (0..values.len())
        .filter(|&row| values[row].is_finite())
        .collect();
    for row in 0..values.len() {
        if values[row].is_finite() {
            continue;
        }
        let after = known.partition_point(|&other| other < row);
        let (left, right) = (after.checked_sub(1).map(|at| known[at]), known.get(after));
        values[row] = match (left, right) {
            (Some(left), Some(&right)) => {
                let share = (row - left) as f64 / (right - left) as f64;
                values[left] + share * (values[right] - values[left])
            }
            (Some(nearest), None) | (None, Some(&nearest)) => values[nearest],
            (None, None) => 0.0,
        };
    }
    Column {
        name,
        filled: values.len() - known.len(),
        values,
    }
}

/// The target, then the features that were asked for.
fn select(columns: Vec<Column>, source: &Source) -> Result<Vec<Column>, Box<dyn Error>> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let find = |name: &str| {
        let found = columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| {
            format!(
                "no column of numbers called `{name}`; there are: {}",
                names.join(", ")
            )
        })
    };
    let target = match &source.target {
        Some(name) => find(name)?,
        None => columns.last().ok_or("no column of numbers")?,
    };
    let mut selected = vec![target.clone()];
    if source.features == ["all"] {
        let others = columns.iter().filter(|column| column.name != target.name);
        selected.extend(others.cloned());
    } else {
        for name in &source.features {
            selected.push(find(name)?.clone());
        }
    }
    Ok(selected)
}

/// Training, validation and test rows, in this order of time.
fn split(rows: usize, counts: &[usize]) -> Result<[Range<usize>; 3], String> {
    let [training, validation, test] = match *counts {
        [training, validation, test] => [training, validation, test],
        _ => [rows * 7 / 10, rows / 10, rows - rows * 7 / 10 - rows / 10],
    };
    let ends = training
        .checked_add(validation)
        .and_then(|second| Some([training, second, second.checked_add(test)?]))
        .filter(|ends| ends[2] <= rows)
        .ok_or_else(|| format!("--split asks for more than the {rows} rows there are"))?;
    Ok([0..ends[0], ends[0]..ends[1], ends[1]..ends[2]])
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| (value - mean).powi(2));
    (mean, (square.sum::<f64>() / count).sqrt())
}

/// A column in the training part's standard deviations, and that deviation.
fn standardise(column: &Column, training: &Range<usize>) -> Result<(Vec<f64>, f64), String> {
    let (mean, deviation) = moments(&column.values[training.clone()]);
    if !(deviation > 0.0 && deviation.is_finite()) {
        return Err(format!(
            "column `{}` is constant in the training part: nothing to learn",
            column.name
        ));
    }
    let values = column.values.iter().map(|value| (value - mean) / deviation);
    Ok((values.collect(), deviation))
}

/// The lag at which the series' changes resemble themselves most, once they have ceased to: changes have no trend, and
/// past the first negative autocorrelation the nearness of neighbouring values no longer counts. 1 if there is none.
fn find_season(values: &[f64]) -> usize {
    let changes: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (mean, _) = moments(&changes);
    let lags = changes.len() / 3;
    let correlation = |lag: usize| -> f64 {
        let pairs = changes.iter().zip(&changes[lag..]);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let correlations: Vec<f64> = (0..lags).map(correlation).collect();
    let Some(negative) = correlations.iter().position(|&value| value < 0.0) else {
        return 1;
    };
    let best =
        |range: Range<usize>| range.max_by(|&a, &b| correlations[a].total_cmp(&correlations[b]));
    let Some(highest) = best(negative..lags) else {
        return 1;
    };
    // Multiples of a season resemble it too: the first that comes near wins, and of its neighbours the highest.
    let near = 0.9 * correlations[highest];
    let first = (negative..lags).find(|&lag| correlations[lag] >= near);
    let first = first.unwrap_or(highest);
    best(first..(first + 4).min(lags)).unwrap_or(first).max(1)
}
