//! Weights of another configuration, and files that are truncated, hostile or of something else.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use wgpu_rnn::{Direction, Error, ParameterLayout, Parameters, RnnConfig};

use crate::{error_of, shape_error};

fn config() -> RnnConfig {
    let builder = RnnConfig::lstm(2, 3).direction(Direction::BidirectionalConcat);
    builder.build().unwrap()
}

#[track_caller]
fn format_error(bytes: &[u8], prefix: &str, parts: &[&str]) {
    let error = error_of(
        Parameters::from_safetensors(&config(), bytes, prefix),
        parts,
    );
    assert!(matches!(error, Error::Format(_)), "{error:?}");
}

/// A file with the given tensors, of zeros.
fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let zeros = vec![0; 4096];
    let views = tensors.iter().map(|(name, dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let view = TensorView::new(*dtype, shape.to_vec(), &zeros[..bytes]).unwrap();
        (name.to_string(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Names and shapes of [`config`]'s tensors.
fn own() -> Vec<(String, Vec<usize>)> {
    let layout = ParameterLayout::new(&config()).unwrap();
    let entries = layout.entries().iter();
    entries
        .map(|entry| (entry.name.clone(), entry.shape.clone()))
        .collect()
}

/// A file of [`config`]'s tensors, each passed through `change`, which may drop it, and `more`.
fn changed(
    change: impl Fn(&str, &[usize]) -> Option<(Dtype, Vec<usize>)>,
    more: &[(&str, Dtype, &[usize])],
) -> Vec<u8> {
    let own = own();
    let kept: Vec<_> = own
        .iter()
        .filter_map(|(name, shape)| change(name, shape).map(|(dtype, shape)| (name, dtype, shape)))
        .collect();
    let mut all: Vec<(&str, Dtype, &[usize])> = kept
        .iter()
        .map(|(name, dtype, shape)| (name.as_str(), *dtype, shape.as_slice()))
        .collect();
    all.extend(more);
    file(&all)
}

fn same(_: &str, shape: &[usize]) -> Option<(Dtype, Vec<usize>)> {
    Some((Dtype::F32, shape.to_vec()))
}

#[test]
fn flat_weights_of_another_configuration() {
    let layout = Arc::new(ParameterLayout::new(&config()).unwrap());
    let len = layout.len();
    for values in [0, len - 1, len + 1] {
        let result = Parameters::from_flat(layout.clone(), vec![0.0; values]);
        shape_error(result, &[&len.to_string(), &values.to_string()]);
    }
}

#[test]
fn single_tensors() {
    let mut parameters = Parameters::zeros(&config()).unwrap();
    let before = parameters.clone();
    for (name, values) in [
        ("weight_ih_l1", 24),
        ("", 24),
        ("weight_hr_l0", 9),
        ("weight_ih", 24),
    ] {
        let result = parameters.set(name, &vec![1.0; values]);
        shape_error(result, &["weight_ih_l0", &format!("`{name}`")]);
        assert_eq!(parameters.get(name), None);
    }
    for values in [0, 23, 25] {
        let result = parameters.set("weight_ih_l0", &vec![1.0; values]);
        shape_error(
            result,
            &["weight_ih_l0", "[12, 2]", &format!("{values} values")],
        );
    }
    assert_eq!(parameters, before);
}

#[test]
fn files_of_another_configuration() {
    let whole = changed(same, &[]);
    Parameters::from_safetensors(&config(), &whole, "").unwrap();
    for (dropped, shape) in own() {
        let bytes = changed(
            |name, shape| same(name, shape).filter(|_| name != dropped),
            &[],
        );
        let (missing, shape) = (format!("`{dropped}`"), format!("{shape:?}"));
        format_error(&bytes, "", &["missing", &missing, &shape, "the file has"]);
        let bytes = changed(
            |name, shape| match name == dropped {
                true => Some((
                    Dtype::F32,
                    shape.iter().rev().map(|size| size + 1).collect(),
                )),
                false => same(name, shape),
            },
            &[],
        );
        format_error(&bytes, "", &[&missing, "expected F32", &shape, "got F32"]);
        for dtype in [Dtype::F64, Dtype::F16, Dtype::BF16, Dtype::I32, Dtype::U8] {
            let bytes = changed(
                |name, shape| match name == dropped {
                    true => Some((dtype, shape.to_vec())),
                    false => same(name, shape),
                },
                &[],
            );
            let got = format!("got {dtype:?}");
            format_error(&bytes, "", &[&missing, "expected F32", &got]);
        }
    }
    let extra = changed(same, &[("weight_ih_l1", Dtype::F32, &[12, 6])]);
    format_error(
        &extra,
        "",
        &["`weight_ih_l1`", "no place", "weight_hh_l0_reverse"],
    );
    format_error(
        &whole,
        "encoder.",
        &["`encoder.weight_ih_l0`", "missing", "weight_ih_l0"],
    );
    format_error(&file(&[]), "", &["missing", "none"]);
    // Tensors of others, behind another prefix, are no one's business.
    let prefixed = Parameters::zeros(&config())
        .unwrap()
        .to_safetensors("a.")
        .unwrap();
    Parameters::from_safetensors(&config(), &prefixed, "a.").unwrap();
    // A matrix with its elements in one dimension, or with a dimension more, is another tensor.
    for wrong in [
        vec![24],
        vec![12, 2, 1],
        vec![1, 12, 2],
        vec![2, 12],
        vec![],
    ] {
        let bytes = changed(
            |name, shape| match name {
                "weight_ih_l0" => Some((Dtype::F32, wrong.clone())),
                _ => same(name, shape),
            },
            &[],
        );
        format_error(&bytes, "", &["expected F32 [12, 2]", &format!("{wrong:?}")]);
    }
}

#[test]
fn truncated_files() {
    let bytes = Parameters::uniform(&config(), 1)
        .unwrap()
        .to_safetensors("")
        .unwrap();
    for len in 0..bytes.len() {
        format_error(&bytes[..len], "", &["not a readable safetensors file"]);
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    format_error(&longer, "", &["not a readable safetensors file"]);
}

#[test]
fn hostile_files() {
    let header = |json: &str, data: usize| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let tensor = |shape: &str, offsets: &str| {
        let json = format!(
            r#"{{"weight_ih_l0":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#
        );
        header(&json, 96)
    };
    let huge = [u64::MAX.to_le_bytes(), [b'{'; 8]].concat();
    for bytes in [
        huge,
        header("", 0),
        header("{", 0),
        header("[]", 0),
        header("null", 0),
        header(&"[".repeat(100_000), 0),
        tensor("[12, 2]", "[96, 0]"),
        tensor("[12, 2]", "[0, 18446744073709551615]"),
        tensor("[12, 2]", "[8, 104]"),
        tensor("[12, 2]", "[-1, 96]"),
        tensor("[12, -2]", "[0, 96]"),
        tensor("[18446744073709551615, 2]", "[0, 96]"),
        tensor("[4611686018427387905, 4]", "[0, 16]"),
        tensor("[12]", "[0, 96]"),
        tensor("\"12\"", "[0, 96]"),
    ] {
        format_error(&bytes, "", &["weight file"]);
    }
}

/// Any bytes: an error or, where a mutation hits the numbers only, weights; never a panic.
#[test]
fn mutated_files() {
    let config = config();
    let parameters = Parameters::uniform(&config, 1).unwrap();
    let whole = parameters.to_safetensors("").unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let (mut read, mut refused) = (0, 0);
    for seed in 0..2_000 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        // Half of them in the header alone, where the structure is.
        let reach = if seed % 2 == 0 { header } else { bytes.len() };
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..reach);
            match random.random_range(0..5) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = random.random(),
                2 => bytes[at] = b"0123456789[]{}\",:-"[random.random_range(0..18)],
                3 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, random.random()),
            }
        }
        match Parameters::from_safetensors(&config, &bytes, "") {
            Ok(loaded) => {
                read += 1;
                assert_eq!(loaded.layout(), parameters.layout());
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, Error::Format(_)), "seed {seed}: {error:?}");
                assert!(error.to_string().len() < 4_000, "seed {seed}: {error}");
            }
        }
    }
    assert!(
        read > 100 && refused > 100,
        "{read} read, {refused} refused"
    );
}
