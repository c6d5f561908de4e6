use proptest::prelude::*;
use wgpu_rnn::data::{DriftReference, population_stability_index};

use crate::refused;

#[test]
fn the_formula() {
    // Shares with half a count added: 40.5/81 and 40.5/81 against 20.5/81 and 60.5/81.
    let (low, high): (f64, f64) = (20.5 / 81.0, 60.5 / 81.0);
    let expected = (low - 0.5) * (low / 0.5).ln() + (high - 0.5) * (high / 0.5).ln();
    let got = population_stability_index(&[40, 40], &[20, 60]).unwrap();
    assert!((got - expected).abs() < 1e-15, "{got} {expected}");
    assert!(
        population_stability_index(&[5, 0], &[0, 5])
            .unwrap()
            .is_finite()
    );
}

proptest! {
    #[test]
    fn it_is_a_divergence(pairs in prop::collection::vec((0..50u64, 0..50u64), 1..9)) {
        let (mut a, mut b): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        a.push(1);
        b.push(1);
        let index = population_stability_index(&a, &b).unwrap();
        prop_assert!(index >= 0.0);
        prop_assert_eq!(population_stability_index(&a, &a).unwrap(), 0.0);
        let back = population_stability_index(&b, &a).unwrap();
        prop_assert!((index - back).abs() < 1e-12);
    }

    #[test]
    fn every_value_falls_into_one_bin(values in prop::collection::vec(-20..20i8, 1..80), bins in 2..15usize) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        let reference = DriftReference::new(&values, bins).unwrap();
        prop_assert_eq!(reference.counts().iter().sum::<u64>(), values.len() as u64);
        prop_assert_eq!(reference.counts().len(), reference.edges().len() + 1);
        for (bin, &count) in reference.counts().iter().enumerate() {
            let above = |value: f32| bin == 0 || value > reference.edges()[bin - 1];
            let within = |value: f32| reference.edges().get(bin).is_none_or(|&edge| value <= edge);
            let inside = values.iter().filter(|&&value| above(value) && within(value));
            prop_assert_eq!(inside.count() as u64, count);
        }
        prop_assert_eq!(reference.index(&values).unwrap(), 0.0);
        let text = serde_json::to_string(&reference).unwrap();
        prop_assert_eq!(serde_json::from_str::<DriftReference>(&text).unwrap(), reference);
    }
}

#[test]
fn quantiles_fill_bins_evenly() {
    let values: Vec<f32> = (0..1_000).map(|n| (n as f32).powi(2)).collect();
    let reference = DriftReference::new(&values, 10).unwrap();
    assert_eq!(reference.counts(), [100; 10]);
}

#[test]
fn a_constant_feature_that_changes_is_seen() {
    let reference = DriftReference::new(&[3.0; 50], 10).unwrap();
    assert_eq!(reference.index(&[3.0; 50]), Ok(0.0));
    assert!(reference.index(&[3.5; 50]).unwrap() > 0.25);
    assert!(reference.index(&[2.5; 50]).unwrap() > 0.25);
    for extreme in [f32::MIN, f32::MAX, 0.0] {
        let reference = DriftReference::new(&[extreme; 3], 4).unwrap();
        assert_eq!(
            reference.index(&[extreme; 9]),
            Ok(reference.index(&[extreme; 9]).unwrap())
        );
        assert!(reference.index(&[7.0; 50]).unwrap() > 0.25);
    }
}

#[test]
fn bad_input() {
    refused(
        DriftReference::new(&[1.0], 1),
        "option `bins`: between 2 and 65536, got 1",
    );
    refused(
        DriftReference::new(&[], 10),
        "values: expected at least one, got none",
    );
    refused(
        DriftReference::new(&[1.0, f32::NAN], 10),
        "value 1: expected a finite number, got NaN",
    );
    let reference = DriftReference::new(&[1.0, 2.0], 2).unwrap();
    refused(
        reference.index(&[f32::INFINITY]),
        "value 0: expected a finite number, got inf",
    );
    refused(
        reference.index(&[]),
        "values: expected at least one, got none",
    );
    refused(
        population_stability_index(&[1], &[1, 2]),
        "counts of bins: expected 1, got 2",
    );
    refused(
        population_stability_index(&[1], &[0]),
        "actual counts: expected a bin with a count, got none",
    );
    for text in [
        r#"{"edges": [2.0, 1.0], "counts": [1, 1, 1]}"#,
        r#"{"edges": [1.0], "counts": [1]}"#,
        r#"{"edges": [1.0], "counts": [0, 0]}"#,
        r#"{"edges": [1.0], "counts": [18446744073709551615, 1]}"#,
        r#"{"edges": [1e39], "counts": [1, 1]}"#,
    ] {
        serde_json::from_str::<DriftReference>(text).expect_err(text);
    }
}
