//! What layers and losses refuse, on the host and when a program is loaded.

use wgpu_rnn::nn::{Dropout, Embedding, LayerNorm};
use wgpu_rnn::ops::*;
use wgpu_rnn::{Error, Mode};

use super::support::*;

fn refused(case: &Case, operation: impl Into<Operation>) -> Vec<Error> {
    let mut program = case.program.clone();
    program.push(Section::Forward, operation);
    let load = |device: &std::sync::Arc<dyn wgpu_rnn::Device>| {
        let loaded = device.load(program.clone(), &[]);
        loaded
            .err()
            .unwrap_or_else(|| panic!("accepted by {}", device.name()))
    };
    devices().iter().map(load).collect()
}

fn is_option(errors: &[Error], wanted: &str) -> bool {
    let is = |error: &Error| matches!(error, Error::Option { option, .. } if *option == wanted);
    !errors.is_empty() && errors.iter().all(is)
}

#[test]
fn layers_of_bad_sizes() {
    assert!(Embedding::new(0, 3).is_err());
    assert!(Embedding::new(3, 0).is_err());
    assert!(Embedding::new((1 << 24) + 1, 1).is_err());
    assert!(Embedding::new(1 << 24, 1 << 8).is_err());
    assert!(
        Embedding::new(1 << 24, 255)
            .unwrap()
            .table(1 << 24, 2)
            .is_err()
    );
    let mut program = Program::new();
    for probability in [-0.1, 1.0, f32::NAN] {
        let chance = (probability, Mode::Training);
        assert!(Dropout::of_sequences(&mut program, chance, 0, 1).is_err());
    }
    assert!(Dropout::of_sequences(&mut program, (0.1, Mode::Training), 1 << 27, 1).is_err());
    assert!(LayerNorm::new(&mut program, 2, 0, 1e-5).is_err());
    for epsilon in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(LayerNorm::new(&mut program, 2, 3, epsilon).is_err());
    }
}

#[test]
fn records_are_checked() {
    let embedding = Embedding::new(3, 2)
        .unwrap()
        .table(2, 1)
        .unwrap()
        .features(1);
    let message = |records: &[f32]| embedding.check(records).unwrap_err().to_string();
    embedding.check(&[2.0, 1.0, 0.5, 0.0, 0.0, -7.0]).unwrap();
    assert!(message(&[1.0]).contains("rows of 3"));
    for bad in [3.0, -1.0, 0.5, f32::NAN] {
        let text = message(&[0.0, 0.0, 0.0, bad, 0.0, 0.0]);
        assert!(text.contains("id 0 of record 1"), "{text}");
        assert!(text.contains("below 3"), "{text}");
    }
    assert!(message(&[0.0, 2.0, 0.0]).contains("id 1 of record 0"));
    assert!(message(&[0.0, 0.0, f32::INFINITY]).contains("feature 0 of record 0"));
}

#[test]
fn targets_are_checked() {
    let binary = PointwiseLossKind::BinaryCrossEntropy {
        positive_weight: 2.0,
    };
    check_targets(binary, &[0.0, 1.0, 0.25], None).unwrap();
    check_targets(binary, &[], None).unwrap();
    for bad in [-0.1, 1.5, f32::NAN] {
        let error = check_targets(binary, &[0.0, bad], None).unwrap_err();
        assert!(error.to_string().contains("target 1"), "{error}");
        check_targets(binary, &[0.0, 1.0, bad, bad], Some(&[1.0, 0.0])).unwrap();
        assert!(check_targets(binary, &[0.0, 1.0, bad, bad], Some(&[1.0, 1.0])).is_err());
    }
    let squared = PointwiseLossKind::Squared;
    check_targets(squared, &[-5.0, 1e30], None).unwrap();
    assert!(check_targets(squared, &[f32::NAN], None).is_err());
    for weights in [&[1.0][..], &[], &[1.0, -1.0], &[1.0, f32::NAN], &[1.0; 3]] {
        let fits = weights == [1.0];
        let checked = check_targets(squared, &[0.0; 4], Some(weights));
        assert_eq!(checked.is_ok(), fits, "{weights:?}");
    }
    let classes = SoftmaxCrossEntropy::check_classes(3, &[2, 0]).unwrap();
    assert_eq!(classes, [2.0, 0.0]);
    let error = SoftmaxCrossEntropy::check_classes(3, &[0, 3]).unwrap_err();
    assert!(error.to_string().contains("class of row 1"), "{error}");
}

#[test]
fn options_of_losses() {
    let mut case = Case::new();
    let [x, y] = [(); 2].map(|()| case.buffer(&[0.0; 4]));
    let (d, loss) = (case.result(4), case.result(1));
    let pointwise = |kind| PointwiseLoss {
        kind,
        prediction: x.into(),
        target: y.into(),
        weights: None,
        gradient: d.into(),
        loss: loss.into(),
        rows: 2,
        width: 2,
    };
    for delta in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let kind = PointwiseLossKind::Huber { delta };
        assert!(is_option(&refused(&case, pointwise(kind)), "delta"));
    }
    for positive_weight in [-1.0, f32::NAN, f32::INFINITY] {
        let kind = PointwiseLossKind::BinaryCrossEntropy { positive_weight };
        assert!(is_option(
            &refused(&case, pointwise(kind)),
            "positive_weight"
        ));
    }
    let short = PointwiseLoss {
        rows: 3,
        ..pointwise(PointwiseLossKind::Squared)
    };
    let errors = refused(&case, short);
    assert!(
        errors
            .iter()
            .all(|error| matches!(error, Error::Shape { .. }))
    );
    for smoothing in [-0.1, 1.1, f32::NAN] {
        let softmax = SoftmaxCrossEntropy {
            logits: x.into(),
            target: y.into(),
            weights: None,
            class_weights: None,
            smoothing,
            gradient: d.into(),
            loss: loss.into(),
            rows: 2,
            classes: 2,
        };
        assert!(is_option(&refused(&case, softmax), "smoothing"));
    }
}

#[test]
fn embeddings_that_leave_their_buffers() {
    let mut case = Case::new();
    let [table, ids] = [6, 4].map(|len| case.buffer(&vec![0.0; len]));
    let target = case.result(8);
    let fits = EmbeddingRows {
        table: table.into(),
        entries: 3,
        width: 2,
        ids: ids.into(),
        ids_stride: 1,
        features: None,
        target: target.into(),
        target_stride: 2,
        rows: 4,
    };
    let wrong = [
        EmbeddingRows { entries: 4, ..fits },
        EmbeddingRows { rows: 5, ..fits },
        EmbeddingRows {
            ids_stride: 2,
            ..fits
        },
        EmbeddingRows {
            target_stride: 3,
            ..fits
        },
        EmbeddingRows {
            target_stride: 1,
            ..fits
        },
        EmbeddingRows {
            target: Region::from(target).at(1),
            ..fits
        },
    ];
    for operation in wrong {
        refused(&case, operation);
    }
    for device in devices() {
        let mut program = case.program.clone();
        program.push(Section::Forward, fits);
        device.load(program, &[]).unwrap();
    }
}
