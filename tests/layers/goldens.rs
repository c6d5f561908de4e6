//! PyTorch's values, written by `scripts/layer_goldens.py`.

use serde::Deserialize;
use wgpu_rnn::nn::{Embedding, LayerNorm};
use wgpu_rnn::ops::{PointwiseLoss, PointwiseLossKind, Region, SoftmaxCrossEntropy};

use super::support::*;

#[derive(Deserialize)]
struct Goldens {
    pointwise: Vec<Pointwise>,
    softmax: Vec<Softmax>,
    embedding: Table,
    layer_norm: Norm,
}

#[derive(Deserialize)]
struct Pointwise {
    kind: String,
    parameter: f32,
    x: Vec<f32>,
    y: Vec<f32>,
    loss: f64,
    d_x: Vec<f64>,
}

#[derive(Deserialize)]
struct Softmax {
    x: Vec<f32>,
    classes: Vec<f32>,
    class_weights: Option<Vec<f32>>,
    smoothing: f32,
    loss: f64,
    d_x: Vec<f64>,
}

#[derive(Deserialize)]
struct Table {
    ids: Vec<f32>,
    table: Vec<f32>,
    d_y: Vec<f32>,
    y: Vec<f64>,
    d_table: Vec<f64>,
}

#[derive(Deserialize)]
struct Norm {
    x: Vec<f32>,
    d_y: Vec<f32>,
    parameters: Vec<f32>,
    y: Vec<f64>,
    d_x: Vec<f64>,
    d_parameters: Vec<f64>,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../layer_goldens.json")).unwrap()
}

fn size(values: &[f64]) -> f64 {
    values.iter().map(|value| value.abs()).sum()
}

#[test]
fn pointwise_losses() {
    let cases = goldens().pointwise;
    assert_eq!(cases.len(), 7);
    for golden in cases {
        let parameter = golden.parameter;
        let kind = match golden.kind.as_str() {
            "squared" => PointwiseLossKind::Squared,
            "absolute" => PointwiseLossKind::Absolute,
            "huber" => PointwiseLossKind::Huber { delta: parameter },
            "binary_cross_entropy" => PointwiseLossKind::BinaryCrossEntropy {
                positive_weight: parameter,
            },
            other => panic!("a loss {other}"),
        };
        let len = golden.x.len();
        let mut case = Case::new();
        let [x, y] = [&golden.x, &golden.y].map(|content| case.buffer(content));
        let (d_x, loss) = (case.result(len), case.result(1));
        case.push(PointwiseLoss {
            kind,
            prediction: x.into(),
            target: y.into(),
            weights: None,
            gradient: d_x.into(),
            loss: loss.into(),
            rows: len,
            width: 1,
        });
        case.each([d_x, loss], |device, [d_x, loss]| {
            let what = format!("{} {parameter} on {device}", golden.kind);
            // WGSL's exponential of logits up to 20 beyond which it no longer counts, its logarithm, and the sum.
            let gradient = 100.0 * EPSILON * size(&golden.d_x);
            let absolute = (1.0 + f64::from(parameter)) / f64::from(1 << 20);
            assert_close(&what, &d_x, &golden.d_x, |_| gradient);
            assert_close(&what, &loss, &[golden.loss], |_| {
                absolute + 24.0 * EPSILON * golden.loss
            });
        });
    }
}

#[test]
fn softmax_cross_entropy() {
    let cases = goldens().softmax;
    assert_eq!(cases.len(), 4);
    for golden in cases {
        let rows = golden.classes.len();
        let mut case = Case::new();
        let [x, classes] = [&golden.x, &golden.classes].map(|content| case.buffer(content));
        let class_weights = golden.class_weights.as_ref();
        let class_weights = class_weights.map(|weights| Region::from(case.buffer(weights)));
        let (d_x, loss) = (case.result(golden.x.len()), case.result(1));
        case.push(SoftmaxCrossEntropy {
            logits: x.into(),
            target: classes.into(),
            weights: None,
            class_weights,
            smoothing: golden.smoothing,
            gradient: d_x.into(),
            loss: loss.into(),
            rows,
            classes: golden.x.len() / rows,
        });
        case.each([d_x, loss], |device, [d_x, loss]| {
            let what = format!("smoothing {} on {device}", golden.smoothing);
            let gradient = 100.0 * EPSILON * size(&golden.d_x);
            assert_close(&what, &d_x, &golden.d_x, |_| gradient);
            assert_close(&what, &loss, &[golden.loss], |_| {
                3.0 / f64::from(1 << 20) + 24.0 * EPSILON * golden.loss
            });
        });
    }
}

#[test]
fn embedding() {
    let golden = goldens().embedding;
    let layer = Embedding::new(5, 4).unwrap();
    let rows = golden.ids.len();
    let mut case = Case::new();
    let [ids, table, d_y] =
        [&golden.ids, &golden.table, &golden.d_y].map(|content| case.buffer(content));
    let (y, d_table) = (case.result(rows * 4), case.result(layer.parameter_len()));
    layer.forward(
        &mut case.program,
        rows,
        table.into(),
        (ids.into(), y.into()),
    );
    layer.backward(
        &mut case.program,
        rows,
        d_table.into(),
        (ids.into(), d_y.into()),
    );
    case.each([y, d_table], |device, [y, d_table]| {
        // The very values, but for the last bit of an f64, which the reading of JSON may lose.
        assert_close(device, &y, &golden.y, |_| EPSILON * EPSILON);
        // At most three rows a sum.
        assert_close(device, &d_table, &golden.d_table, |_| {
            2.0 * EPSILON * size(&golden.d_table)
        });
    });
}

#[test]
fn layer_norm() {
    let golden = goldens().layer_norm;
    let mut case = Case::new();
    let layer = LayerNorm::new(&mut case.program, 4, 6, 1.0 / 1024.0).unwrap();
    let [x, d_y, parameters] =
        [&golden.x, &golden.d_y, &golden.parameters].map(|content| case.buffer(content));
    let [y, d_x] = [(); 2].map(|()| case.result(24));
    let gradients = case.result(12);
    let program = &mut case.program;
    layer.forward(program, parameters.into(), (x.into(), y.into()));
    let places = (x.into(), d_y.into(), d_x.into());
    layer.backward(program, (parameters.into(), gradients.into()), places);
    case.each([y, d_x, gradients], |device, [y, d_x, gradients]| {
        for (got, expected) in [
            (y, &golden.y),
            (d_x, &golden.d_x),
            (gradients, &golden.d_parameters),
        ] {
            // Sums of six terms, a square root and a division.
            assert_close(device, &got, expected, |_| 30.0 * EPSILON * size(expected));
        }
    });
}
