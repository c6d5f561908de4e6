//! Embedding tables, and the scalar features beside them.

use rand::{RngExt, SeedableRng};

use super::layer::{
    BackwardPlaces, ForwardPlaces, GradientPlace, Layer, NodeShape, ParameterPlace, ParameterSpec,
    PushedLayer, ReferenceInputs, expect_inputs,
};
use crate::error::{Error, Result, checked_product};
use crate::initial::ParameterInitial;
use crate::ops::{
    Columns, EmbeddingRows, EmbeddingRowsBackward, MOST_WHOLE, Program, Region, Section,
};

/// Turns records into rows of features: of a record's ids each is replaced by its row of a table, and scalar features follow as
/// they are.
///
/// A record is `[ids | features]`, one id for each table, all `f32`; ids are whole numbers, which `f32` holds exactly below
/// 2^24, the largest size of a table. Its row is `[embeddings | features]`. The parameters are the tables, `[entries, width]` each
/// (PyTorch's `weight`), one after the other.
///
/// ```
/// use wgpu_rnn::nn::Embedding;
/// // Event types of 12 kinds as 16 numbers, weekdays as 4, and three scalars: 23 inputs of a network.
/// let embedding = Embedding::new(12, 16)?.table(7, 4)?.features(3);
/// assert_eq!((embedding.record_width(), embedding.outputs()), (5, 23));
/// embedding.check(&[11.0, 0.0, 0.5, -1.0, 2.0])?;
/// assert!(embedding.check(&[12.0, 0.0, 0.5, -1.0, 2.0]).is_err());
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// Entries and width of each table.
    tables: Vec<[usize; 2]>,
    features: usize,
}

impl Embedding {
    /// One table of `entries` rows of `width` elements.
    ///
    /// # Errors
    /// [`Error::Option`] if a size is zero or there are more than 2^24 entries, [`Error::Overflow`] if the table does not fit a
    /// 32-bit index.
    pub fn new(entries: usize, width: usize) -> Result<Self> {
        let none = Self {
            tables: Vec::new(),
            features: 0,
        };
        none.table(entries, width)
    }

    /// One more table, for the next id of a record.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn table(mut self, entries: usize, width: usize) -> Result<Self> {
        if entries == 0 || entries > MOST_WHOLE {
            let reason = format!("must be from 1 to {MOST_WHOLE}, not {entries}");
            return Err(Error::option("entries", reason));
        }
        if width == 0 {
            return Err(Error::option("width", "must be greater than zero"));
        }
        let len = checked_product("embedding table", &[entries, width])?;
        checked_product("embedding tables", &[self.parameter_len() + len])?;
        self.tables.push([entries, width]);
        Ok(self)
    }

    /// Scalar features that stand behind a record's ids; none unless set.
    pub fn features(mut self, features: usize) -> Self {
        self.features = features;
        self
    }

    /// Elements of a record: its ids and features.
    pub fn record_width(&self) -> usize {
        self.tables.len() + self.features
    }

    /// Elements of a row that leaves: all embeddings and the features.
    pub fn outputs(&self) -> usize {
        let widths = self.tables.iter().map(|[_, width]| width);
        widths.sum::<usize>() + self.features
    }

    /// Number of parameters: the elements of all tables.
    pub fn parameter_len(&self) -> usize {
        let sizes = self.tables.iter().map(|[entries, width]| entries * width);
        sizes.sum()
    }

    /// Initial parameters of mean 0 and variance 1 (as PyTorch's, but uniform), from a seed.
    pub fn parameters(&self, seed: u64) -> Vec<f32> {
        let bound = 3f32.sqrt();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..self.parameter_len())
            .map(|_| random.random_range(-bound..bound))
            .collect()
    }

    /// Checks records before they are written to a device, where a bad id would be taken for one without an embedding.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are not whole records, an id is no row of its table, or a feature is not finite.
    pub fn check(&self, records: &[f32]) -> Result<()> {
        let width = self.record_width();
        if !records.len().is_multiple_of(width) {
            let got = format!("{} values", records.len());
            return Err(Error::shape("records", format!("rows of {width}"), got));
        }
        for (number, record) in records.chunks_exact(width).enumerate() {
            let (ids, features) = record.split_at(self.tables.len());
            for (column, (&id, [entries, _])) in ids.iter().zip(&self.tables).enumerate() {
                if !(id >= 0.0 && id < *entries as f32 && id.fract() == 0.0) {
                    let what = format!("id {column} of record {number}");
                    return Err(Error::shape(
                        what,
                        format!("a whole number below {entries}"),
                        id,
                    ));
                }
            }
            if let Some(index) = features.iter().position(|value| !value.is_finite()) {
                let what = format!("feature {index} of record {number}");
                return Err(Error::shape(what, "a finite number", features[index]));
            }
        }
        Ok(())
    }

    /// Pushes the forward: `records` are `[rows, record width]`, `y` becomes `[rows, outputs]` and lies in another buffer.
    pub fn forward(
        &self,
        program: &mut Program,
        rows: usize,
        parameters: Region,
        (records, y): (Region, Region),
    ) {
        for place in self.places() {
            let table = parameters.at(place.table);
            program.push(
                Section::Forward,
                self.lookup(&place, rows, table, (records, y)),
            );
        }
    }

    /// The rows of one table.
    fn lookup(
        &self,
        place: &Place,
        rows: usize,
        table: Region,
        (records, y): (Region, Region),
    ) -> EmbeddingRows {
        let is_last = place.number + 1 == self.tables.len();
        let features = is_last.then(|| Columns {
            region: records.at(self.tables.len()),
            stride: self.record_width(),
            width: self.features,
        });
        EmbeddingRows {
            table,
            entries: place.entries,
            width: place.width,
            ids: records.at(place.number),
            ids_stride: self.record_width(),
            features: features.filter(|features| features.width > 0),
            target: y.at(place.column),
            target_stride: self.outputs(),
            rows,
        }
    }

    /// Pushes the backward: from `records` and the gradient `d_y` (both as in the forward) to `gradients`, laid out like the
    /// parameters and overwritten.
    pub fn backward(
        &self,
        program: &mut Program,
        rows: usize,
        gradients: Region,
        (records, d_y): (Region, Region),
    ) {
        for place in self.places() {
            let gradient = GradientPlace {
                region: gradients.at(place.table),
                accumulate: false,
            };
            program.push(
                Section::Backward,
                self.sums(&place, rows, gradient, (records, d_y)),
            );
        }
    }

    /// The gradient of one table.
    fn sums(
        &self,
        place: &Place,
        rows: usize,
        gradient: GradientPlace,
        (records, d_y): (Region, Region),
    ) -> EmbeddingRowsBackward {
        EmbeddingRowsBackward {
            gradient: Columns {
                region: d_y.at(place.column),
                stride: self.outputs(),
                width: place.width,
            },
            ids: records.at(place.number),
            ids_stride: self.record_width(),
            target: gradient.region,
            entries: place.entries,
            rows,
            accumulate: gradient.accumulate,
        }
    }

    /// Where each table lies.
    fn places(&self) -> impl Iterator<Item = Place> {
        let (mut table, mut column) = (0, 0);
        { self.tables.iter().enumerate() }.map(move |(number, &[entries, width])| {
            let place = Place {
                number,
                entries,
                width,
                table,
                column,
            };
            table += entries * width;
            column += width;
            place
        })
    }
}

/// A table, where it lies in the parameters, and where its columns lie in a row.
#[derive(Debug)]
struct Place {
    number: usize,
    entries: usize,
    width: usize,
    table: usize,
    column: usize,
}

/// A table's rows in a program.
#[derive(Debug)]
struct PushedEmbedding {
    embedding: Embedding,
    rows: usize,
    tables: Vec<ParameterPlace>,
    records: Region,
    y: Region,
}

/// As a layer of a model, an embedding has the parameters `weight`, or `0.weight`, `1.weight` and so on where it has several
/// tables.
impl Layer for Embedding {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn settings(&self) -> String {
        let tables = self.tables.iter();
        let mut parts: Vec<String> = tables
            .map(|[entries, width]| format!("{entries} x {width}"))
            .collect();
        if self.features > 0 {
            parts.push(format!("{} features", self.features));
        }
        parts.join(", ")
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let initial = ParameterInitial::Uniform(3f32.sqrt());
        let places = self.places();
        places
            .map(|place| {
                let name = match self.tables.len() {
                    1 => "weight".to_owned(),
                    _ => format!("{}.weight", place.number),
                };
                ParameterSpec::new(name, &[place.entries, place.width], initial.clone())
            })
            .collect()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [records] = expect_inputs("embedding", inputs)?;
        match records.width == self.record_width() {
            true => Ok(vec![NodeShape::new(records.rows, Embedding::outputs(self))]),
            false => Err(Error::shape(
                "input of an embedding",
                format!("records of {}", self.record_width()),
                records,
            )),
        }
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let records = places.inputs[0];
        let shape = NodeShape::new(records.shape.rows, Embedding::outputs(self));
        let rows = places.rows(shape.rows)?;
        let y: Region = places.output_buffer(0, "embedding", shape)?.into();
        for place in self.places() {
            let table = places.parameters[place.number].value;
            let operation = self.lookup(&place, rows, table, (records.region, y));
            places.program.push(Section::Forward, operation);
        }
        Ok(Box::new(PushedEmbedding {
            embedding: self.clone(),
            rows,
            tables: places.parameters.to_vec(),
            records: records.region,
            y,
        }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let mut y = Vec::new();
        for record in inputs.inputs[0].chunks_exact(self.record_width()) {
            let (ids, features) = record.split_at(self.tables.len());
            for ((&id, [entries, width]), table) in
                ids.iter().zip(&self.tables).zip(&inputs.parameters)
            {
                let is_entry = id >= 0.0 && id < *entries as f64 && id.fract() == 0.0;
                match is_entry {
                    true => y.extend_from_slice(&table[id as usize * width..][..*width]),
                    false => y.extend(std::iter::repeat_n(0.0, *width)),
                }
            }
            y.extend_from_slice(features);
        }
        Ok(vec![y])
    }

    fn differentiates(&self, _: usize) -> bool {
        false
    }

    fn check_values(&self, given: &[Option<&[f32]>]) -> Result<()> {
        match given.first() {
            Some(Some(records)) => self.check(records),
            _ => Ok(()),
        }
    }
}

impl PushedLayer for PushedEmbedding {
    fn outputs(&self) -> Vec<Region> {
        vec![self.y]
    }

    fn is_disposable(&self, _: usize) -> bool {
        true
    }

    /// Features and ids get no gradient: they are given.
    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let Some(d_y) = places.output(0) else {
            return Ok(());
        };
        for (place, table) in self.embedding.places().zip(&self.tables) {
            if let Some(gradient) = table.gradient {
                let rows = (self.records, d_y.region);
                let sums = self.embedding.sums(&place, self.rows, gradient, rows);
                places.program.push(Section::Backward, sums);
            }
        }
        Ok(())
    }
}
