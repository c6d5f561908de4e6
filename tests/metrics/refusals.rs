//! Bad input is an error that says what was expected and what came.

use std::fmt::Debug;

use wgpu_rnn::Error;
use wgpu_rnn::metrics::{
    BinaryScores, Binning, ConfusionMatrix, ForecastErrors, Latency, TagScores, argmax, entities,
};

#[track_caller]
fn refused<T: Debug>(result: wgpu_rnn::Result<T>, text: &str) {
    assert_eq!(
        result.expect_err("this should be refused").to_string(),
        text
    );
}

#[test]
fn binary() {
    let new = BinaryScores::new;
    refused(
        new(&[1.0, 0.0], &[0.5]),
        "scores: expected 2, one for each actual value, got 1",
    );
    refused(new(&[], &[]), "scores: expected at least one, got none");
    refused(
        new(&[1.0, 0.0], &[0.5, f32::NAN]),
        "score 1: expected a finite number, got NaN",
    );
    refused(
        new(&[1.0], &[f32::INFINITY]),
        "score 0: expected a finite number, got inf",
    );
    refused(
        new(&[1.0, 2.0], &[0.5; 2]),
        "label 1: expected 0 or 1, got 2",
    );
    refused(
        new(&[f32::NAN], &[0.5]),
        "label 0: expected 0 or 1, got NaN",
    );
}

#[test]
fn one_class() {
    let negatives = BinaryScores::new(&[0.0; 3], &[0.1, 0.2, 0.3]).unwrap();
    let positives = BinaryScores::new(&[1.0; 2], &[0.1, 0.2]).unwrap();
    refused(
        negatives.auc(),
        "AUC: expected labels of both classes, got 0 positives and 3 negatives",
    );
    refused(
        positives.roc(),
        "ROC curve: expected labels of both classes, got 2 positives and 0 negatives",
    );
    refused(
        negatives.average_precision(),
        "average precision: expected at least one positive label, got none",
    );
    refused(
        negatives.best_f1(),
        "best F1: expected at least one positive label, got none",
    );
    assert_eq!(positives.average_precision(), Ok(1.0));
    assert_eq!(negatives.f1(0.5), Ok(0.0));
    assert!(negatives.log_loss().is_ok());
}

#[test]
fn not_probabilities() {
    let logits = BinaryScores::new(&[0.0, 1.0], &[-0.5, 0.5]).unwrap();
    refused(
        logits.log_loss(),
        "log loss: expected probabilities in [0, 1], got -0.5",
    );
    refused(
        logits.brier(),
        "Brier score: expected probabilities in [0, 1], got -0.5",
    );
    let scores = BinaryScores::new(&[0.0, 1.0], &[0.5, 0.5]).unwrap();
    refused(
        scores.calibration(0, Binning::Uniform),
        "option `bins`: between 1 and 65536, got 0",
    );
    refused(scores.f1(f32::NAN), "threshold: expected a number, got NaN");
}

#[test]
fn classes() {
    refused(
        ConfusionMatrix::new(3, &[0, 3], &[0, 0]),
        "label 1: expected a class below 3, got 3",
    );
    refused(
        ConfusionMatrix::new(3, &[0, 2], &[7, 0]),
        "predicted class 0: expected a class below 3, got 7",
    );
    refused(
        ConfusionMatrix::new(3, &[0, 2], &[7]),
        "predicted classes: expected 2, one for each actual value, got 1",
    );
    refused(
        ConfusionMatrix::new(0, &[], &[]),
        "predicted classes: expected at least one, got none",
    );
    let huge = ConfusionMatrix::new(usize::MAX, &[0], &[0]).unwrap_err();
    assert!(matches!(huge, Error::Overflow { .. }), "{huge:?}");
    refused(
        argmax(&[0.0; 5], 2),
        "scores: expected rows of 2, got 5 values",
    );
    refused(
        argmax(&[0.0, f32::NAN], 2),
        "score 1: expected a finite number, got NaN",
    );
    refused(
        argmax(&[], 0),
        "option `classes`: between 1 and 2^32, got 0",
    );
    assert_eq!(
        argmax(&[1.0, 1.0, 0.0, -3.0, -2.0, -2.0], 3),
        Ok(vec![0, 1])
    );
}

#[test]
fn tags() {
    refused(
        entities(&["O", "B-PER", "E-PER"]),
        "tag of token 2: expected `O`, `B-KIND` or `I-KIND`, got `E-PER`",
    );
    for bad in ["", "B-", "B", "o", "É-PER"] {
        assert!(entities(&[bad]).is_err(), "`{bad}`");
    }
    refused(
        TagScores::new(&[vec!["O"], vec!["O"]], &[vec!["O"]]),
        "predicted tag sequences: expected 2, got 1",
    );
    refused(
        TagScores::new(&[vec!["O", "O"]], &[vec!["O"]]),
        "predicted tags of sequence 0: expected 2, got 1",
    );
    refused(
        TagScores::new(&[vec![], vec!["O"]], &[vec![], vec!["?"]]),
        "sequence 1, tag of token 0: expected `O`, `B-KIND` or `I-KIND`, got `?`",
    );
    refused(
        TagScores::new::<&str>(&[vec![]], &[vec![]]),
        "tags: expected at least one token, got none",
    );
}

#[test]
fn forecasts() {
    refused(
        ForecastErrors::new(&[1.0], &[]),
        "predicted values: expected 1, one for each actual value, got 0",
    );
    refused(
        ForecastErrors::new(&[1.0, f32::NAN], &[1.0; 2]),
        "actual value 1: expected a finite number, got NaN",
    );
    let zeros = ForecastErrors::new(&[0.0], &[1.0]).unwrap();
    refused(
        zeros.wape(),
        "WAPE: expected an actual value other than 0, got none",
    );
    refused(
        zeros.mase(&[1.0, 2.0], 2),
        "training series of MASE: expected more than a season's 2 values, got 2",
    );
    refused(
        zeros.mase(&[1.0, 2.0], 0),
        "option `season`: must be at least 1 step, got 0",
    );
    refused(
        zeros.mase(&[1.0, 2.0, 1.0, 2.0], 2),
        "training series of MASE: expected one that changes over 2 steps, got one that repeats itself",
    );
    refused(
        zeros.mase(&[1.0, f32::NAN], 1),
        "training value 1: expected a finite number, got NaN",
    );
    for quantile in [0.0, 1.0, f64::NAN] {
        refused(
            zeros.quantile_loss(quantile),
            &format!("option `quantile`: between 0 and 1, both excluded, got {quantile}"),
        );
    }
    refused(
        Latency::new(&[]),
        "latency: expected at least one time, got none",
    );
}
