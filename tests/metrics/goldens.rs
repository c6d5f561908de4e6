//! The values of `scripts/metric_goldens.py`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use wgpu_rnn::metrics::{
    Agreement, BinaryScores, Binning, ConfusionMatrix, ForecastErrors, Latency, TagScores, entities,
};

use crate::assert_close;

#[derive(Deserialize)]
struct Goldens {
    binary: Vec<Binary>,
    classes: Vec<Classes>,
    tagging: Vec<Tagging>,
    forecast: Vec<Forecast>,
    latency: Vec<Times>,
}

#[derive(Deserialize)]
struct Binary {
    name: String,
    labels: Vec<f32>,
    scores: Vec<f32>,
    auc: f64,
    average_precision: f64,
    roc: Roc,
    f1: Vec<(f32, f64)>,
    best_f1: f64,
    best_threshold: f32,
    log_loss: Option<f64>,
    brier: Option<f64>,
    #[serde(default)]
    calibration: Vec<Curve>,
}

#[derive(Deserialize)]
struct Roc {
    false_positive_rate: Vec<f64>,
    true_positive_rate: Vec<f64>,
    thresholds: Vec<f32>,
}

#[derive(Deserialize)]
struct Curve {
    bins: usize,
    strategy: String,
    counts: Vec<usize>,
    observed: Vec<f64>,
    predicted: Vec<f64>,
    expected_error: f64,
}

#[derive(Deserialize)]
struct Classes {
    name: String,
    classes: usize,
    labels: Vec<u32>,
    predicted: Vec<u32>,
    matrix: Vec<Vec<u64>>,
    accuracy: f64,
    macro_f1: f64,
    micro_f1: f64,
    f1: Vec<f64>,
    precision: Vec<f64>,
    recall: Vec<f64>,
}

#[derive(Deserialize)]
struct Tagging {
    name: String,
    actual: Vec<Vec<String>>,
    predicted: Vec<Vec<String>>,
    accuracy: f64,
    token: [f64; 3],
    entity: [f64; 3],
    macro_f1: f64,
    kinds: BTreeMap<String, [f64; 3]>,
    entities: Vec<Vec<(String, usize, usize)>>,
}

#[derive(Deserialize)]
struct Forecast {
    name: String,
    actual: Vec<f32>,
    predicted: Vec<f32>,
    training: Vec<f32>,
    season: usize,
    mae: f64,
    rmse: f64,
    wape: f64,
    mase: f64,
    quantile_loss: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Times {
    nanoseconds: Vec<u64>,
    percentiles: [u64; 4],
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../metric_goldens.json")).unwrap()
}

#[test]
fn binary() {
    let cases = goldens().binary;
    assert_eq!(cases.len(), 9);
    for case in &cases {
        let name = &case.name;
        let terms = case.labels.len();
        let scores = BinaryScores::new(&case.labels, &case.scores).unwrap();
        assert_close(name, scores.auc().unwrap(), case.auc, terms);
        let precision = scores.average_precision().unwrap();
        assert_close(name, precision, case.average_precision, terms);
        for &(threshold, f1) in &case.f1 {
            assert_close(name, scores.f1(threshold).unwrap(), f1, 1);
        }
        let best = scores.best_f1().unwrap();
        assert_close(name, best.f1, case.best_f1, 1);
        assert_eq!(best.threshold, case.best_threshold, "{name}");
        check_roc(&scores, case);
        check_probabilities(&scores, case);
    }
}

fn check_roc(scores: &BinaryScores, case: &Binary) {
    let points = scores.roc().unwrap();
    let expected = &case.roc;
    assert_eq!(points.len(), expected.true_positive_rate.len());
    assert_eq!(points[0].threshold, f32::INFINITY);
    let thresholds: Vec<f32> = points[1..].iter().map(|point| point.threshold).collect();
    assert_eq!(thresholds, expected.thresholds, "{}", case.name);
    for (index, point) in points.iter().enumerate() {
        let (false_rate, true_rate) = (
            expected.false_positive_rate[index],
            expected.true_positive_rate[index],
        );
        assert_close(&case.name, point.false_positive_rate, false_rate, 1);
        assert_close(&case.name, point.true_positive_rate, true_rate, 1);
    }
}

fn check_probabilities(scores: &BinaryScores, case: &Binary) {
    let (Some(log_loss), Some(brier)) = (case.log_loss, case.brier) else {
        scores.log_loss().unwrap_err();
        scores.brier().unwrap_err();
        scores.calibration(5, Binning::Uniform).unwrap_err();
        return;
    };
    let (name, terms) = (&case.name, scores.len());
    assert_close(name, scores.log_loss().unwrap(), log_loss, terms);
    assert_close(name, scores.brier().unwrap(), brier, terms);
    assert_eq!(case.calibration.len(), 6, "{name}");
    for curve in &case.calibration {
        let binning = match curve.strategy.as_str() {
            "uniform" => Binning::Uniform,
            _ => Binning::Quantile,
        };
        let got = scores.calibration(curve.bins, binning).unwrap();
        assert_eq!(got.bins.len(), curve.bins);
        let filled: Vec<_> = got.bins.iter().filter(|bin| bin.count > 0).collect();
        let counts: Vec<usize> = filled.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, curve.counts, "{name}, {} {binning:?}", curve.bins);
        for (index, bin) in filled.iter().enumerate() {
            assert_close(name, bin.observed, curve.observed[index], terms);
            assert_close(name, bin.predicted, curve.predicted[index], terms);
        }
        assert_close(name, got.expected_error(), curve.expected_error, terms);
    }
}

#[test]
fn classes() {
    let cases = goldens().classes;
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let name = &case.name;
        let matrix = ConfusionMatrix::new(case.classes, &case.labels, &case.predicted).unwrap();
        assert_eq!(matrix.counts(), case.matrix.concat(), "{name}");
        assert_close(name, matrix.accuracy(), case.accuracy, 1);
        assert_close(name, matrix.macro_f1(), case.macro_f1, case.classes);
        assert_close(name, matrix.micro_f1(), case.micro_f1, 1);
        for class in 0..case.classes {
            assert_close(name, matrix.f1(class), case.f1[class], 1);
            assert_close(name, matrix.precision(class), case.precision[class], 1);
            assert_close(name, matrix.recall(class), case.recall[class], 1);
        }
    }
}

#[track_caller]
fn assert_agreement(name: &str, got: &Agreement, expected: [f64; 3]) {
    assert_close(name, got.precision(), expected[0], 1);
    assert_close(name, got.recall(), expected[1], 1);
    assert_close(name, got.f1(), expected[2], 1);
}

#[test]
fn tagging() {
    let cases = goldens().tagging;
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let name = &case.name;
        let scores = TagScores::new(&case.actual, &case.predicted).unwrap();
        assert_close(name, scores.accuracy(), case.accuracy, 1);
        assert_agreement(name, &scores.tokens(), case.token);
        assert_agreement(name, &scores.entities(), case.entity);
        assert_close(name, scores.macro_f1(), case.macro_f1, case.kinds.len());
        assert_eq!(scores.kinds().len(), case.kinds.len(), "{name}");
        for (kind, agreement) in scores.kinds() {
            assert_agreement(name, agreement, case.kinds[kind]);
        }
        for (tags, expected) in case.actual.iter().zip(&case.entities) {
            let got: Vec<(String, usize, usize)> = entities(tags)
                .unwrap()
                .into_iter()
                .map(|entity| (entity.kind, entity.start, entity.end))
                .collect();
            assert_eq!(&got, expected, "{name}: {tags:?}");
        }
    }
}

#[test]
fn forecast() {
    let cases = goldens().forecast;
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let name = &case.name;
        let terms = case.actual.len() + case.training.len();
        let errors = ForecastErrors::new(&case.actual, &case.predicted).unwrap();
        assert_close(name, errors.mae(), case.mae, terms);
        assert_close(name, errors.rmse(), case.rmse, terms);
        assert_close(name, errors.wape().unwrap(), case.wape, terms);
        let mase = errors.mase(&case.training, case.season).unwrap();
        assert_close(name, mase, case.mase, terms);
        for &(quantile, loss) in &case.quantile_loss {
            let got = errors.quantile_loss(quantile).unwrap();
            assert_close(name, got, loss, terms);
        }
    }
}

#[test]
fn latency() {
    let cases = goldens().latency;
    assert_eq!(cases.len(), 7);
    for case in &cases {
        let times: Vec<Duration> = case
            .nanoseconds
            .iter()
            .map(|&time| Duration::from_nanos(time))
            .collect();
        let latency = Latency::new(&times).unwrap();
        assert_eq!(latency.count, times.len());
        let got = [latency.p50, latency.p95, latency.p99, latency.max];
        assert_eq!(got, case.percentiles.map(Duration::from_nanos));
    }
}
