//! Activations as manifests write them.

use serde_json::Value;
use wgpu_rnn::Activation;

use crate::Stop;
use crate::manifest::{Fields, broken, unsupported};

/// The nearest 32-bit float; `exact` becomes false if it is another number.
pub(crate) fn narrow(number: f64, exact: &mut bool) -> f32 {
    let narrowed = number as f32;
    *exact &= f64::from(narrowed) == number;
    narrowed
}

/// A name, or an object with `name` and where the activation has them `alpha` and `beta`.
pub(crate) fn activation(given: &Value, exact: &mut bool) -> Result<Activation, Stop> {
    let name = given.as_str().or_else(|| given.get("name")?.as_str());
    let Some(name) = name else {
        return broken(format!("manifest: an activation without a name: {given}"));
    };
    let parameters = match given {
        Value::Object(_) => Fields::new("activation", Some(given))?,
        _ => Fields::new("activation", None)?,
    };
    parameters.refuse_unknown(&["name", "alpha", "beta"])?;
    // 0 is a value here.
    let mut parameter = |key: &str, default: f64| {
        let given = parameters.map.and_then(|map| map.get(key));
        match given.filter(|value| !value.is_null()) {
            None => Ok(narrow(default, exact)),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(narrow(number, exact)),
                None => broken(format!("manifest: {key} of an activation is {value}")),
            },
        }
    };
    let plain = name.to_ascii_lowercase().replace('_', "");
    Ok(match plain.as_str() {
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "linear" => Activation::Linear,
        "affine" => Activation::Affine {
            alpha: parameter("alpha", 1.0)?,
            beta: parameter("beta", 0.0)?,
        },
        "leakyrelu" => Activation::LeakyRelu {
            alpha: parameter("alpha", 0.01)?,
        },
        "thresholdedrelu" => Activation::ThresholdedRelu {
            alpha: parameter("alpha", 1.0)?,
        },
        "scaledtanh" => Activation::ScaledTanh {
            alpha: parameter("alpha", 1.0)?,
            beta: parameter("beta", 1.0)?,
        },
        "hardsigmoid" => Activation::HardSigmoid {
            alpha: parameter("alpha", 0.2)?,
            beta: parameter("beta", 0.5)?,
        },
        "elu" => Activation::Elu {
            alpha: parameter("alpha", 1.0)?,
        },
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        _ => return unsupported(format!("activation `{name}`")),
    })
}
