//! Files that are cut off, changed or hostile.

use serde_json::{Value, json};
use wgpu_rnn::Error;
use wgpu_rnn::checkpoint::Checkpoint;

use crate::example::full;

fn bytes() -> Vec<u8> {
    full().to_bytes().unwrap()
}

#[track_caller]
fn refused(bytes: &[u8], reason: &str) {
    let error = Checkpoint::from_bytes(bytes).expect_err(reason);
    assert!(matches!(error, Error::Checkpoint(_)), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
}

/// The file with another header.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = bytes();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend(header);
    changed.extend(&bytes[8 + length..]);
    changed
}

/// The file with other metadata.
fn with_metadata(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    with_header(|header| {
        let text = &mut header["__metadata__"]["wgpu_rnn"];
        let mut metadata: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        change(&mut metadata);
        *text = Value::String(metadata.to_string());
    })
}

/// The file with one value of its metadata replaced.
fn with_value(place: &str, value: Value) -> Vec<u8> {
    with_metadata(|metadata| *metadata.pointer_mut(place).expect(place) = value)
}

/// The tools of this file leave a good file good.
#[test]
fn unchanged() {
    assert_eq!(Checkpoint::from_bytes(&with_metadata(|_| ())), Ok(full()));
}

#[test]
fn cut_off_anywhere() {
    let bytes = bytes();
    for length in 0..bytes.len() {
        refused(&bytes[..length], "");
    }
    refused(&[], "not a whole safetensors file: 0 bytes");
    refused(&bytes[..100], "in a file of 100");
    let mut longer = bytes;
    longer.push(0);
    refused(&longer, "");
}

#[test]
fn changed_anywhere() {
    let good = full();
    let mut bytes = bytes();
    for place in 0..bytes.len() {
        for bit in [0x01, 0x20, 0x80] {
            bytes[place] ^= bit;
            match Checkpoint::from_bytes(&bytes) {
                Err(error) => assert!(matches!(error, Error::Checkpoint(_)), "{error:?}"),
                // A space for another one, say: the same contents.
                Ok(read) => assert_eq!(read, good, "bit {bit:#x} of byte {place}"),
            }
            bytes[place] ^= bit;
        }
    }
    let last = bytes.len() - 1;
    bytes[last - 9] ^= 1;
    refused(&bytes, "damaged: expected contents of checksum");
}

#[test]
fn versions() {
    for other in [0, 3] {
        let text = format!("expected format version 1 to 2, got {other}");
        refused(&with_value("/version", json!(other)), &text);
    }
    refused(
        &with_value("/version", json!(1)),
        "fields of another format version than 1",
    );
    refused(&with_value("/version", json!("x")), "invalid type");
    let newer = with_metadata(|metadata| metadata["attention"] = json!(1));
    refused(&newer, "unknown field `attention`");
    let without = with_metadata(|metadata| {
        metadata.as_object_mut().unwrap().remove("card");
    });
    refused(&without, "missing field `card`");
}

#[test]
fn other_safetensors_files() {
    refused(
        &with_header(|header| header["__metadata__"] = json!({"format": "pt"})),
        "weights, but no checkpoint of this crate",
    );
    refused(
        b"\x02\0\0\0\0\0\0\0{}",
        "weights, but no checkpoint of this crate",
    );
    refused(
        &[0xff; 64],
        "a header of 18446744073709551615 bytes in a file of 64",
    );
    refused(
        b"PK\x03\x04 is what a .pt file begins with",
        "not a whole safetensors file",
    );
}

#[test]
fn hostile_lengths() {
    for offsets in [
        json!([0, u64::MAX]),
        json!([0, u64::MAX - 500]),
        json!([1u64 << 40, 1u64 << 41]),
    ] {
        let bytes = with_header(|header| {
            header["parameters.head.bias"] =
                json!({"dtype": "U8", "shape": [u64::MAX], "data_offsets": offsets});
        });
        refused(&bytes, "tensor `parameters.head.bias` ends at byte");
    }
    let huge = with_header(|header| {
        header["parameters.head.bias"]["shape"] = json!([1u64 << 40, 1u64 << 40, 1u64 << 40]);
    });
    refused(&huge, "");
    let backwards = with_header(|header| {
        header["parameters.head.bias"]["data_offsets"] = json!([4, 0]);
    });
    refused(&backwards, "");
    let negative = with_header(|header| {
        header["parameters.head.bias"]["data_offsets"] = json!([-4, 0]);
    });
    refused(&negative, "tensor `parameters.head.bias`");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut bytes = (deep.len() as u64).to_le_bytes().to_vec();
    bytes.extend(deep.into_bytes());
    refused(&bytes, "not a whole safetensors file");
}

#[test]
fn tensors_missing_left_over_or_of_another_shape() {
    let list = |metadata: &mut Value, name: &str, shape: Value| {
        metadata["parameters"][name] = shape;
    };
    refused(
        &with_metadata(|metadata| list(metadata, "head.scale", json!([3]))),
        "tensor `parameters.head.scale` [3] is missing",
    );
    let unlisted = with_metadata(|metadata| {
        metadata["parameters"]
            .as_object_mut()
            .unwrap()
            .remove("head.bias");
    });
    refused(
        &unlisted,
        "tensor `parameters.head.bias` is not in the metadata's list",
    );
    refused(
        &with_metadata(|metadata| list(metadata, "head.weight", json!([4]))),
        "tensor `parameters.head.weight`: expected F32 [4], got F32 [2, 2]",
    );
    refused(
        &with_header(|header| header["parameters.head.weight"]["dtype"] = json!("I32")),
        "tensor `parameters.head.weight`: expected F32 [2, 2], got I32 [2, 2]",
    );
    let renamed = with_header(|header| {
        let tensor = header["parameters.head.bias"].take();
        header
            .as_object_mut()
            .unwrap()
            .remove("parameters.head.bias");
        header["other.head.bias"] = tensor;
    });
    refused(
        &renamed,
        "tensor `other.head.bias` is not in the metadata's list",
    );
}

#[test]
fn contents_that_cannot_be() {
    for (place, value, reason) in [
        ("/scalers/hours/center/0", json!(null), "got NaN and"),
        (
            "/scalers/hours/scale/0",
            json!(0.0),
            "a finite scale above 0, got",
        ),
        (
            "/scalers/hours/scale",
            json!([]),
            "as many centers as scales",
        ),
        (
            "/scalers/hours/scaling",
            json!("log"),
            "unknown variant `log`",
        ),
        (
            "/vocabularies/event/names/0",
            json!("timer"),
            "names of fingerprint",
        ),
        (
            "/vocabularies/event/names/1",
            json!("reply"),
            "each name once, got `reply` again",
        ),
        ("/networks/rnn/hidden", json!(0), "option `hidden`"),
        ("/networks/rnn/hidden", json!(4), "damaged"),
        ("/position/epoch", json!(-1), "invalid value"),
        ("/position/epoch", json!(4), "damaged"),
        ("/card/metrics/AUC", json!(null), "invalid type: null"),
        ("/card/metrics/AUC", json!(0.99), "damaged"),
        (
            "/card/latency/CPU/p50/nanos",
            json!(u64::MAX),
            "invalid value",
        ),
        ("/sections/schedule", json!(null), "damaged"),
        ("/checksum", json!("0"), "damaged"),
    ] {
        refused(&with_value(place, value), reason);
    }
    let mut bytes = bytes();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&bytes, "expected a finite number, got NaN");
}

#[test]
fn files_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.safetensors");
    let error = Checkpoint::load(&path).unwrap_err();
    assert!(
        matches!(
            error,
            Error::File {
                kind: std::io::ErrorKind::NotFound,
                ..
            }
        ),
        "{error:?}"
    );
    std::fs::write(&path, b"short").unwrap();
    let error = Checkpoint::load(&path).unwrap_err().to_string();
    assert!(
        error.contains("none.safetensors`: not a whole safetensors file"),
        "{error}"
    );
    assert!(Checkpoint::load(folder.path()).is_err());
}
