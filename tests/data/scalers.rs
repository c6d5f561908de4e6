use proptest::prelude::*;
use wgpu_rnn::data::{Scaler, Scaling};

use crate::refused;

const ALL: [Scaling; 3] = [Scaling::Standard, Scaling::MinMax, Scaling::Robust];

fn fit(scaling: Scaling, features: usize, rows: &[f32]) -> wgpu_rnn::Result<Scaler> {
    Scaler::fit(scaling, features, [rows])
}

/// Values of scikit-learn 1.9.1's StandardScaler, MinMaxScaler and RobustScaler for the column 1, 2, 4, 9, 100.
#[test]
fn known_values() {
    let column = [1.0, 2.0, 4.0, 9.0, 100.0];
    let standard = fit(Scaling::Standard, 1, &column).unwrap();
    assert_eq!(standard.center(), [23.2]);
    assert!((standard.scale()[0] - 38.49883115108821).abs() < 1e-13);
    let min_max = fit(Scaling::MinMax, 1, &column).unwrap();
    assert_eq!(
        (min_max.center(), min_max.scale()),
        (&[1.0][..], &[99.0][..])
    );
    let robust = fit(Scaling::Robust, 1, &column).unwrap();
    assert_eq!((robust.center(), robust.scale()), (&[4.0][..], &[7.0][..]));
    // Quartiles between values: of 0, 1, 2, 3 they are 0.75, 1.5, 2.25.
    let between = fit(Scaling::Robust, 1, &[3.0, 0.0, 2.0, 1.0]).unwrap();
    assert_eq!(
        (between.center(), between.scale()),
        (&[1.5][..], &[1.5][..])
    );
}

proptest! {
    #[test]
    fn what_is_scaled_can_be_unscaled(
        rows in prop::collection::vec(-1e3..1e3f32, 1..60),
        features in 1..4usize,
        later in prop::collection::vec(-1e4..1e4f32, 3),
    ) {
        let rows = &rows[..rows.len() / features * features];
        for scaling in ALL {
            let Ok(scaler) = fit(scaling, features, rows) else {
                prop_assert!(rows.is_empty());
                continue;
            };
            let mut scaled = later[..features].to_vec();
            scaler.transform(&mut scaled).unwrap();
            scaler.inverse(&mut scaled).unwrap();
            for (feature, (got, value)) in scaled.iter().zip(&later).enumerate() {
                // The scaled value is rounded to f32 once, at its own size or that of its distance to the center.
                let size = f64::from(value.abs()) + scaler.center()[feature].abs();
                prop_assert!(f64::from((got - value).abs()) <= 4.0 * f64::from(f32::EPSILON) * size);
            }
            let text = serde_json::to_string(&scaler).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scaler>(&text).unwrap(), scaler);
        }
    }

    #[test]
    fn training_rows_come_to_the_scale(rows in prop::collection::vec(-50..50i8, 2..60)) {
        let rows: Vec<f32> = rows.into_iter().map(f32::from).collect();
        prop_assume!(rows.iter().any(|value| *value != rows[0]));
        let scaled = |scaling| {
            let mut scaled = rows.clone();
            fit(scaling, 1, &rows).unwrap().transform(&mut scaled).unwrap();
            scaled
        };
        let min_max = scaled(Scaling::MinMax);
        prop_assert_eq!(min_max.iter().copied().fold(f32::INFINITY, f32::min), 0.0);
        prop_assert_eq!(min_max.iter().copied().fold(f32::NEG_INFINITY, f32::max), 1.0);
        let standard = scaled(Scaling::Standard);
        let mean = |of: &dyn Fn(f64) -> f64| {
            standard.iter().map(|&v| of(f64::from(v))).sum::<f64>() / rows.len() as f64
        };
        prop_assert!(mean(&|v| v).abs() < 1e-6);
        prop_assert!((mean(&|v| v * v) - 1.0).abs() < 1e-5);
        let mut robust = scaled(Scaling::Robust);
        robust.sort_by(f32::total_cmp);
        let middle = rows.len() / 2;
        let median = if rows.len() % 2 == 1 { robust[middle] } else { (robust[middle - 1] + robust[middle]) / 2.0 };
        prop_assert!(median.abs() < 1e-5);
    }
}

#[test]
fn constant_features_are_only_centred() {
    // Seven tenths have no exact mean.
    let rows = [0.7, 1.0, 0.7, 2.0, 0.7, 3.0];
    for scaling in ALL {
        let scaler = fit(scaling, 2, &rows).unwrap();
        assert_eq!(scaler.scale()[0], 1.0, "{scaling:?}");
        let mut later = [0.7, 2.0];
        scaler.transform(&mut later).unwrap();
        assert_eq!(later[0], 0.0, "{scaling:?}");
    }
}

#[test]
fn sequences_are_rows_together() {
    let apart = [vec![1.0, 2.0], vec![], vec![3.0, 4.0, 5.0, 9.0]];
    for scaling in ALL {
        let got = Scaler::fit(scaling, 2, apart.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(got, fit(scaling, 2, &apart.concat()).unwrap());
    }
}

#[test]
fn bad_rows() {
    refused(
        fit(Scaling::Standard, 0, &[]),
        "option `features`: must be at least 1, got 0",
    );
    refused(
        fit(Scaling::Standard, 2, &[]),
        "training part: expected at least one row, got none",
    );
    refused(
        fit(Scaling::Standard, 2, &[1.0; 3]),
        "training sequence 0: expected rows of 2 features, got 3 values",
    );
    refused(
        fit(Scaling::Robust, 2, &[1.0, 1.0, 1.0, f32::NAN]),
        "training sequence 0, row 1, feature 1: expected a finite number, got NaN",
    );
    let scaler = fit(Scaling::MinMax, 1, &[0.0, 1e-30]).unwrap();
    let mut rows = [1e-30, 1e15];
    refused(
        scaler.transform(&mut rows),
        "rows, row 1, feature 0: expected a value within the range of 32-bit floats once scaled, got 1000000000000000",
    );
    assert_eq!(rows, [1e-30, 1e15]);
    refused(
        scaler.transform(&mut [f32::NAN]),
        "rows, row 0, feature 0: expected a finite number, got NaN",
    );
    let wide = fit(Scaling::MinMax, 2, &[0.0, 1.0]).unwrap();
    refused(
        wide.inverse(&mut [0.0]),
        "rows: expected rows of 2 features, got 1 values",
    );
}

#[test]
fn bad_files() {
    let of = |center: &str, scale: &str| {
        let text = format!(r#"{{"scaling": "standard", "center": {center}, "scale": {scale}}}"#);
        serde_json::from_str::<Scaler>(&text)
    };
    assert!(of("[1.0]", "[2.0]").is_ok());
    for (center, scale) in [
        ("[null]", "[1.0]"),
        ("[0.0]", "[null]"),
        ("[0.0]", "[0.0]"),
        ("[0.0]", "[-1.0]"),
        ("[0.0, 1.0]", "[1.0]"),
        ("[]", "[]"),
        ("[1e999]", "[1.0]"),
        (r#"["1"]"#, "[1.0]"),
    ] {
        of(center, scale).expect_err(center);
    }
    let error = of("[0.0, null]", "[1.0, 1.0]").unwrap_err().to_string();
    let expected =
        "scaler, feature 1: expected a finite center and a finite scale above 0, got NaN and 1";
    assert!(error.contains(expected), "{error}");
}
