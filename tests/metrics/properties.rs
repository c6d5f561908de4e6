//! Definitions in their plainest form, over generated inputs.

use proptest::prelude::*;
use wgpu_rnn::metrics::{BinaryScores, Binning, ConfusionMatrix, TagScores, entities};

use crate::assert_close;

/// Labels of both classes with scores that tie often.
fn samples() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let sample = (prop::bool::weighted(0.3), 0..12u8);
    prop::collection::vec(sample, 0..60).prop_map(|mut samples| {
        samples.extend([(false, 5), (true, 5)]);
        samples
            .into_iter()
            .map(|(label, score)| (f32::from(u8::from(label)), f32::from(score) / 11.0))
            .unzip()
    })
}

/// Each pair of a positive and a negative, one by one.
fn naive_auc(labels: &[f32], scores: &[f32]) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (label, score) in labels.iter().zip(scores) {
        for (other_label, other) in labels.iter().zip(scores) {
            if *label == 1.0 && *other_label == 0.0 {
                pairs += 1.0;
                won += match score.total_cmp(other) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
    }
    won / pairs
}

/// Counts of a threshold: hits, called positive, positive.
fn naive_counts(labels: &[f32], scores: &[f32], threshold: f32) -> (f64, f64, f64) {
    let (mut hits, mut called, mut positives) = (0.0, 0.0, 0.0);
    for (&label, &score) in labels.iter().zip(scores) {
        let is_called = f64::from(u8::from(score >= threshold));
        hits += is_called * f64::from(label);
        called += is_called;
        positives += f64::from(label);
    }
    (hits, called, positives)
}

fn distinct(scores: &[f32]) -> Vec<f32> {
    let mut distinct = scores.to_vec();
    distinct.sort_by(|a, b| b.total_cmp(a));
    distinct.dedup();
    distinct
}

proptest! {
    #[test]
    fn binary_is_its_definition((labels, scores) in samples()) {
        let got = BinaryScores::new(&labels, &scores).unwrap();
        prop_assert_eq!(got.auc().unwrap(), naive_auc(&labels, &scores));
        let (mut precision, mut recall, mut best) = (0.0, 0.0, 0.0f64);
        for threshold in distinct(&scores) {
            let (hits, called, positives) = naive_counts(&labels, &scores, threshold);
            precision += (hits / positives - recall) * hits / called;
            recall = hits / positives;
            let f1 = 2.0 * hits / (called + positives);
            prop_assert_eq!(got.f1(threshold).unwrap(), f1);
            best = best.max(f1);
        }
        assert_close("average precision", got.average_precision().unwrap(), precision, labels.len());
        let found = got.best_f1().unwrap();
        prop_assert_eq!(found.f1, best);
        prop_assert_eq!(got.f1(found.threshold).unwrap(), best);
    }

    #[test]
    fn the_roc_curve_encloses_the_auc((labels, scores) in samples()) {
        let got = BinaryScores::new(&labels, &scores).unwrap();
        let points = got.roc().unwrap();
        let end = points[points.len() - 1];
        prop_assert_eq!((end.false_positive_rate, end.true_positive_rate), (1.0, 1.0));
        let area: f64 = points
            .windows(2)
            .map(|pair| {
                let height = pair[0].true_positive_rate + pair[1].true_positive_rate;
                (pair[1].false_positive_rate - pair[0].false_positive_rate) * height / 2.0
            })
            .sum();
        assert_close("area", area, got.auc().unwrap(), points.len());
    }

    #[test]
    fn the_order_of_samples_does_not_matter((labels, scores) in samples(), turn in 0..60usize) {
        let rotated = |values: &[f32]| {
            let mut values = values.to_vec();
            let turn = turn % values.len();
            values.rotate_left(turn);
            values
        };
        let first = BinaryScores::new(&labels, &scores).unwrap();
        let second = BinaryScores::new(&rotated(&labels), &rotated(&scores)).unwrap();
        prop_assert_eq!(first.auc(), second.auc());
        prop_assert_eq!(first.average_precision(), second.average_precision());
        prop_assert_eq!(first.log_loss(), second.log_loss());
        prop_assert_eq!(first.brier(), second.brier());
        let calibration = |scores: &BinaryScores| scores.calibration(4, Binning::Quantile);
        prop_assert_eq!(calibration(&first), calibration(&second));
    }

    #[test]
    fn calibration_bins_hold_every_sample_once((labels, scores) in samples(), bins in 1..20usize) {
        let got = BinaryScores::new(&labels, &scores).unwrap();
        for binning in [Binning::Uniform, Binning::Quantile] {
            let curve = got.calibration(bins, binning).unwrap();
            let (mut count, mut positives) = (0, 0.0);
            for bin in &curve.bins {
                count += bin.count;
                positives += bin.observed * bin.count as f64;
                prop_assert!(bin.count == 0 || (bin.low - 1e-6..=bin.high + 1e-6).contains(&bin.predicted));
            }
            prop_assert_eq!(count, labels.len());
            assert_close("positives", positives, got.positives() as f64, bins);
        }
    }

    #[test]
    fn two_classes_are_a_yes_or_no_question((labels, scores) in samples()) {
        let classes = |values: &[f32]| values.iter().map(|&v| u32::from(v >= 0.5)).collect::<Vec<_>>();
        let matrix = ConfusionMatrix::new(2, &classes(&labels), &classes(&scores)).unwrap();
        let binary = BinaryScores::new(&labels, &scores).unwrap();
        prop_assert_eq!(matrix.f1(1), binary.f1(0.5).unwrap());
        prop_assert_eq!(matrix.micro_f1(), matrix.accuracy());
    }

    #[test]
    fn entities_cover_what_is_tagged(tags in prop::collection::vec(0..5usize, 1..30)) {
        let tags: Vec<&str> = tags.iter().map(|&tag| ["O", "B-A", "I-A", "B-B", "I-B"][tag]).collect();
        let mut covered = vec![None; tags.len()];
        for entity in entities(&tags).unwrap() {
            prop_assert!(entity.start < entity.end);
            for token in entity.start..entity.end {
                prop_assert_eq!(covered[token].replace(entity.kind.clone()), None);
                prop_assert!(token == entity.start || tags[token].starts_with("I-"));
            }
        }
        for (tag, kind) in tags.iter().zip(covered) {
            prop_assert_eq!(tag.get(2..).map(str::to_owned), kind);
        }
        let sequences = [tags];
        let scores = TagScores::new(&sequences, &sequences).unwrap();
        prop_assert_eq!(scores.entities().hits, scores.entities().actual);
        prop_assert_eq!(scores.accuracy(), 1.0);
    }
}
