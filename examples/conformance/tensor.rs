//! Tensors of a safetensors file, and axes that come in any order.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::Stop;

/// A dense row-major tensor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Tensor {
    /// All zeros.
    pub(crate) fn zeros(shape: Vec<usize>) -> Self {
        let values = vec![0.0; shape.iter().product()];
        Self { shape, values }
    }

    fn read(view: &TensorView<'_>) -> Result<Self, String> {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => numbers(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Dtype::F64 => numbers(data, f64::from_le_bytes),
            Dtype::I32 => numbers(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
            Dtype::I64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f64),
            other => return Err(format!("has elements of type {other:?}")),
        };
        let shape = view.shape().to_vec();
        Ok(Self { shape, values })
    }

    /// Refuses another shape.
    pub(crate) fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<(), Stop> {
        if self.shape == shape {
            return Ok(());
        }
        let got = &self.shape;
        Err(Stop::Broken(format!(
            "tensor {name}: expected shape {shape:?}, got {got:?}"
        )))
    }
}

fn numbers<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>()
        .0
        .iter()
        .map(|&bytes| number(bytes))
        .collect()
}

/// The tensors of a file by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// Reads a whole file.
pub(crate) fn read_file(path: &Path) -> Result<Tensors, Stop> {
    let broken = |error: String| Stop::Broken(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.tensors() {
        let tensor = Tensor::read(&view).map_err(|error| broken(format!("{name} {error}")))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// The axes of a tensor of rows, in any order: `T` time, `B` batch, `L` layers, `D` directions, and the features under a
/// letter of their own. Neighbours that are flattened into one axis are written together, as in `T,B,DH` or `LD,B,H`.
#[derive(Debug, Clone)]
pub(crate) struct Axes {
    shape: Vec<usize>,
    strides: BTreeMap<char, usize>,
}

impl Axes {
    /// Reads `spec`, given the size of every letter. A letter that is not written must be of size 1.
    pub(crate) fn new(what: &str, spec: &str, sizes: &[(char, usize)]) -> Result<Self, Stop> {
        let unsupported = |why: &str| Stop::Unsupported(format!("{what} `{spec}`: {why}"));
        let mut shape = Vec::new();
        let mut strides = BTreeMap::new();
        let mut stride = 1;
        // From the innermost axis outwards.
        for axis in spec.rsplit(',') {
            let mut product = 1;
            for letter in axis.trim().chars().rev() {
                let size = sizes.iter().find(|(name, _)| *name == letter);
                let &(_, size) = size.ok_or_else(|| unsupported("an unknown axis"))?;
                if strides
                    .insert(letter, usize::saturating_mul(stride, product))
                    .is_some()
                {
                    return Err(unsupported("an axis appears twice"));
                }
                product = usize::saturating_mul(product, size);
            }
            shape.push(product);
            stride = usize::saturating_mul(stride, product);
        }
        shape.reverse();
        for (letter, size) in sizes {
            if *size != 1 && !strides.contains_key(letter) {
                let why = format!("it has no axis {letter}, whose size is {size}");
                return Err(unsupported(&why));
            }
        }
        Ok(Self { shape, strides })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element at an index along each letter.
    pub(crate) fn at(&self, index: &[(char, usize)]) -> usize {
        let stride = |letter| self.strides.get(letter).copied().unwrap_or(0);
        index.iter().map(|(letter, at)| at * stride(letter)).sum()
    }
}
