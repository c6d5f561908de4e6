//! Where two things of one kind differ, by name.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Refuses `got` if it is not `expected`, naming the first field that differs.
pub(crate) fn check_same<T: Serialize + PartialEq>(
    what: &str,
    expected: &T,
    got: &T,
) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let value = |of: &T| serde_json::to_value(of).map_err(|e| Error::Checkpoint(e.to_string()));
    let (path, expected, got) = first_difference(what.to_owned(), &value(expected)?, &value(got)?);
    Err(Error::Checkpoint(format!(
        "{path}: expected {expected}, got {got}"
    )))
}

fn first_difference(path: String, expected: &Value, got: &Value) -> (String, Value, Value) {
    if let (Value::Object(own), Value::Object(other)) = (expected, got) {
        for (key, value) in own {
            let theirs = other.get(key).unwrap_or(&Value::Null);
            if value != theirs {
                return first_difference(format!("{path}.{key}"), value, theirs);
            }
        }
    }
    (path, expected.clone(), got.clone())
}
