//! Every option of a configuration comes back, and none comes back that could not be built.

use serde_json::{Value, json};
use wgpu_rnn::{
    Activation, Activations, Bias, Clip, Coupled, Direction, Dropout, GruReset, GruUpdate,
    LayerNormKind, Peephole, RnnConfig, Zoneout,
};

fn all() -> Vec<RnnConfig> {
    let activations = |gate, candidate, hidden| Activations {
        gate,
        candidate,
        hidden,
    };
    let alpha = 0.1;
    let beta = -0.3;
    let builders = vec![
        RnnConfig::elman(1, 2)
            .bias(Bias::None)
            .direction(Direction::Reverse),
        RnnConfig::lstm(3, 4)
            .layers(2)
            .direction(Direction::BidirectionalSum)
            .residual(true)
            .peephole(Peephole::Old)
            .coupled(Coupled::InputFromForget)
            .projection(2, true)
            .zoneout(Zoneout {
                hidden: 0.1,
                cell: 0.7,
            })
            .dropout(Dropout {
                between: 0.1,
                input: 0.2,
                recurrent: 0.3,
            })
            .clip(Clip {
                gates: Some(0.1),
                cell: Some(1e-30),
                hidden: None,
                projection: Some(3.4e38),
            }),
        RnnConfig::lstm(3, 4).layer_norm(LayerNormKind::PerGate, 1e-5),
        RnnConfig::gru(5, 6)
            .direction(Direction::BidirectionalConcat)
            .reset(GruReset::Before)
            .update(GruUpdate::TakeNew)
            .bias(Bias::One)
            .activations_of_each([
                activations(
                    Activation::Affine { alpha, beta },
                    Activation::ScaledTanh { alpha, beta },
                    Activation::Linear,
                ),
                activations(
                    Activation::HardSigmoid { alpha, beta },
                    Activation::Elu { alpha },
                    Activation::Softsign,
                ),
            ]),
        RnnConfig::gru(5, 6).activations(activations(
            Activation::LeakyRelu { alpha },
            Activation::ThresholdedRelu { alpha },
            Activation::Softplus,
        )),
    ];
    let built = builders.into_iter().map(|builder| builder.build().unwrap());
    built.collect()
}

#[test]
fn options_come_back() {
    for config in all() {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<RnnConfig>(&text).unwrap(),
            config,
            "{text}"
        );
    }
}

/// The names in files are part of the format: changed, they would strand the files that exist.
#[test]
fn the_text_is_stable() {
    let tanh = json!({"gate": "sigmoid", "candidate": "tanh", "hidden": "tanh"});
    let expected = json!({
        "input": 3, "hidden": 4, "layers": 1, "direction": "bidirectional_concat", "residual": false,
        "dropout": {"between": 0.0, "input": 0.0, "recurrent": 0.0},
        "spec": {
            "cell": "lstm", "reset": "after", "update": "keep_old", "peephole": "new", "coupled": "forget_from_input",
            "projection": {"size": 2, "bias": true}, "bias": "two",
            "clip": {"gates": null, "cell": null, "hidden": 0.5, "projection": null},
            "layer_norm": null, "zoneout": {"hidden": 0.0, "cell": 0.0}, "activations": [tanh, tanh],
        },
    });
    let config = RnnConfig::lstm(3, 4)
        .direction(Direction::BidirectionalConcat)
        .peephole(Peephole::New)
        .coupled(Coupled::ForgetFromInput)
        .projection(2, true)
        .clip(Clip {
            hidden: Some(0.5),
            ..Clip::default()
        })
        .build()
        .unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), expected);
    let affine = serde_json::to_value(Activation::Affine {
        alpha: 0.5,
        beta: 2.0,
    });
    assert_eq!(
        affine.unwrap(),
        json!({"affine": {"alpha": 0.5, "beta": 2.0}})
    );
}

#[test]
fn what_could_not_be_built_does_not_come_back() {
    let good = serde_json::to_value(RnnConfig::gru(3, 4).build().unwrap()).unwrap();
    let changes: [(&str, Value, &str); 8] = [
        (
            "/hidden",
            json!(0),
            "option `hidden`: must be greater than zero",
        ),
        ("/hidden", json!(u64::MAX), "overflows"),
        ("/hidden", json!(-1), "invalid value"),
        ("/layers", json!(1u64 << 40), "option `layers`: at most"),
        ("/dropout/between", json!(1.5), "option `dropout.between`"),
        (
            "/spec/peephole",
            json!("new"),
            "option `peephole`: only the LSTM has it",
        ),
        ("/spec/cell", json!("transformer"), "unknown variant"),
        ("/spec/zoneout/hidden", json!(null), "invalid type: null"),
    ];
    for (place, value, reason) in changes {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = value;
        let error = serde_json::from_value::<RnnConfig>(changed)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{place}: {error}");
    }
    let mut newer = good;
    newer["attention"] = json!(true);
    let error = serde_json::from_value::<RnnConfig>(newer)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `attention`"), "{error}");
}
